"""What was pulled: which models, what has changed upstream since, whether they are whole, and away with them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catalog.hub import Asking, Hub
from catalog.pull.bring import SOURCE
from catalog.pull.download import matches
from catalog.pull.remote import look
from workspace import Asset, Workspace
from workspace.blobs import Blob
from workspace.errors import Conflict, Invalid, NotFound, StudioloError


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A model that came from a Hub or a package."""

    asset: Asset
    origin: str  # hf:AUTHOR/NAME or pypi:PACKAGE
    revision: str
    license: str | None

    @property
    def source(self) -> Mapping[str, Any]:
        """What is known of where it came from."""
        found: Mapping[str, Any] = self.asset.properties[SOURCE]
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """How a model stands beside what is at the Hub now: `state` is the same, moved, renamed, gone or unknown."""

    kept: Kept
    state: str
    revision: str = ""
    changed: tuple[str, ...] = ()
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """What has gone: `freed` bytes of the shared cache. The workspace keeps `kept` bytes, for runs that used them."""

    asset: Asset
    freed: int
    kept: int


def kept(workspace: Workspace) -> list[Kept]:
    """Return the models that were pulled, the newest version of each."""
    found = (_kept(asset) for asset in workspace.assets.list("model"))
    return [each for each in found if each is not None]


def find(workspace: Workspace, name: str) -> Kept:
    """Return a pulled model by its asset's name or by where it came from: `find(workspace, "lab/tiny")`."""
    wanted = name.removeprefix("hf:").replace("/", "--")
    found = _kept(workspace.assets.get("model", wanted))
    if found is None:
        raise Invalid(f"{wanted} was not pulled", hint="`studiolo catalog list` tells what was")
    return found


def upstream(hub: Hub, models: list[Kept]) -> Iterator[Upstream]:
    """Tell of each model whether the Hub has something newer under the revision that was asked for, and what."""
    with Asking(hub) as asking:
        for each in models:
            if each.origin.startswith("hf:"):
                yield _upstream(asking, hub, each)


def verify(workspace: Workspace, model: Kept) -> int:
    """Read every file of a model again; return how many there are, raise Conflict where one is not as it came."""
    asset = model.asset
    workspace.blobs.verify(Blob(asset.digest, asset.size, asset.is_folder))
    digests = asset.properties.get("files") or {}
    places = {entry.path: workspace.blobs.path(entry.digest) for entry in workspace.blobs.entries(asset.digest)}
    for path, told in digests.items():
        if path not in places or not matches(places[path], sha256=told["sha256"], oid=told["oid"]):
            raise Conflict(f"{path} of {asset.ref} is not as it came", hint=f"studiolo catalog pull {model.origin}")
    return len(places)


def remove(workspace: Workspace, cache: Path, model: Kept) -> Removed:
    """Archive a model and take it out of the shared cache, unless another commit of it is there as well."""
    asset = workspace.assets.archive(model.asset)
    freed = 0
    if model.origin.startswith("hf:"):
        folder = cache / f"models--{str(model.source['repo']).replace('/', '--')}"
        snapshots = folder / "snapshots"
        others = [each for each in snapshots.glob("*") if each.name != model.revision] if snapshots.is_dir() else []
        if not others and folder.is_dir():
            freed = sum(each.stat().st_size for each in (folder / "blobs").glob("*") if each.stat().st_nlink == 1)
            shutil.rmtree(folder)
        else:
            shutil.rmtree(snapshots / model.revision, ignore_errors=True)
    return Removed(asset=asset, freed=freed, kept=asset.size)


def _kept(asset: Asset) -> Kept | None:
    source = asset.properties.get(SOURCE)
    if not isinstance(source, dict):
        return None
    license_ = asset.properties.get("license")
    if "repo" in source:
        return Kept(asset=asset, origin=f"hf:{source['repo']}", revision=source["revision"], license=license_)
    if "package" in source:
        return Kept(asset=asset, origin=f"pypi:{source['package']}", revision=source["version"], license=license_)
    return None


def _upstream(asking: Asking, hub: Hub, model: Kept) -> Upstream:
    repo = str(model.source["repo"])
    try:
        now = look(asking, hub, repo, str(model.source["asked"]))
    except NotFound as error:
        return Upstream(kept=model, state="gone", why=error.message)
    except StudioloError as error:
        return Upstream(kept=model, state="unknown", why=error.message)
    if now.key and model.source.get("key") and now.key != model.source["key"]:
        return Upstream(kept=model, state="gone", revision=now.revision, why="another model has its name now")
    if now.revision == model.revision:
        return Upstream(
            kept=model, state="the same" if now.repo == repo else f"renamed to {now.repo}", revision=now.revision
        )
    before = {path: told["sha256"] or told["oid"] for path, told in (model.asset.properties.get("files") or {}).items()}
    after = {file.path: file.etag for file in now.files}
    changed = [f"changed {path}" for path in before if path in after and after[path] != before[path]]
    changed += [f"gone {path}" for path in before if path not in after]
    return Upstream(kept=model, state="moved", revision=now.revision, changed=tuple(changed))

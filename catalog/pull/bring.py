"""`pull`: a model of a Hub becomes an asset, pinned to a commit, with its card, licence, lineage and digests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from catalog.hub import Asking, Hub, Patience
from catalog.pull import judging
from catalog.pull.download import Fetched, Fetching, check_room, snapshot_of
from catalog.pull.judging import Judged
from catalog.pull.remote import Remote, RemoteFile, check_access, look, split
from workspace import Asset, Workspace
from workspace.errors import Invalid

SOURCE = "source"  # the property that says where a model is from
_READ_AHEAD = 40  # configurations that are looked at before anything is fetched


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is to be brought: `reference` is AUTHOR/NAME or AUTHOR/NAME@REVISION.

    `name` is what the asset is called, AUTHOR--NAME where nothing is said; `include` are patterns of weights that are
    wanted; `trust` is the reason why what can run code may come as well.
    """

    reference: str
    name: str = ""
    include: tuple[str, ...] = ()
    trust: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What there is and what of it comes; `diff` shows what is refused."""

    remote: Remote
    judged: Judged
    auto_maps: Mapping[str, Any]
    diff: str


@dataclass(frozen=True, slots=True)
class Pulled:
    """The model is an asset."""

    asset: Asset
    looked: Looked


def pull(
    workspace: Workspace, hub: Hub, cache: Path, asked: Asked, patience: Patience | None = None
) -> Iterator[Looked | Fetched | Pulled]:
    """Bring a model; nothing of it is visible before all of it is verified, and what was fetched survives a kill."""
    if asked.trust and len(asked.trust.split()) < 2:
        raise Invalid("the reason to trust a model is more than a word", hint="it is kept in the audit log")
    with Asking(hub, patience) as asking, Fetching(hub, cache, patience) as fetching:
        looked = look_at(asking, fetching, hub, asked)
        yield looked
        remote, judged = looked.remote, looked.judged
        judging.check_safe(remote, judged, looked.auto_maps, trusted=bool(asked.trust))
        judging.check_choice(remote, judged)
        files = judged.taken + (tuple(each.file for each in judged.refused) if asked.trust else ())
        check_room(cache, remote, files)
        yield from fetching.fetch(remote, files)
    yield Pulled(_keep(workspace, cache, asked, looked, files), looked)


def look_at(asking: Asking, fetching: Fetching, hub: Hub, asked: Asked) -> Looked:
    """Return what a model would bring, and what of it is refused."""
    remote = look(asking, hub, *split(asked.reference))
    check_access(asking, remote)
    judged = judging.judge(remote.files, asked.include)
    auto_maps = {}
    for file in _configurations(judged):
        if told := judging.auto_map(fetching.read(remote, file)):
            auto_maps[file.path] = told
    texts = {file.path: fetching.read(remote, file) for file in _scripts(judged)}
    return Looked(remote=remote, judged=judged, auto_maps=auto_maps, diff=judging.diff(judged, auto_maps, texts))


def _configurations(judged: Judged) -> list[RemoteFile]:
    """Return the files that can name code: `config.json`, `tokenizer_config.json` and their like."""
    named = [file for file in judged.taken if file.path.endswith("config.json") or file.path == "model_index.json"]
    return named[:_READ_AHEAD]


def _scripts(judged: Judged) -> list[RemoteFile]:
    scripts = (each.file for each in judged.refused if each.file.path.endswith((".py", ".sh", ".js")))
    return [file for file in scripts if file.size <= 200_000][:_READ_AHEAD]


def _keep(workspace: Workspace, cache: Path, asked: Asked, looked: Looked, files: Sequence[RemoteFile]) -> Asset:
    remote = looked.remote
    name = asked.name or remote.repo.replace("/", "--")
    snapshot = snapshot_of(cache, remote)
    params = {"reference": asked.reference, "revision": remote.revision, "hub": remote.endpoint}
    with workspace.run("pull", params=params) as run:
        # The blobs themselves, not the links to them: on one disk they are shared and take no room twice.
        places = [(file.path, (snapshot / file.path).resolve()) for file in files]
        content = workspace.blobs.add_files(places, share=True)
        asset = workspace.assets.put("model", name, content, properties=_properties(asked, looked, files))
        if asked.trust:
            told = {"reason": asked.trust, "revision": remote.revision, "files": _refused(looked)}
            with workspace.light.write() as statements:
                workspace.audit.record(statements, "model.trust", asset.ref, after=told)
        run.output(asset)
    return asset


def _properties(asked: Asked, looked: Looked, files: Sequence[RemoteFile]) -> dict[str, Any]:
    remote = looked.remote
    told: dict[str, Any] = {
        SOURCE: {
            "hub": remote.endpoint, "repo": remote.repo, "key": remote.key, "revision": remote.revision,
            "asked": remote.asked, "include": list(asked.include),
        },
        "files": {file.path: {"size": file.size, "oid": file.oid, "sha256": file.sha256} for file in files},
        "license": remote.license, "task": remote.task, "library": remote.library, "base_model": list(remote.bases),
        "parameters": remote.parameters, "gated": remote.gated,
        "card": next((file.path for file in files if PurePosixPath(file.path).name == "README.md"), None),
    }  # fmt: skip
    if asked.trust:
        told["trusted"] = {"reason": asked.trust, "files": _refused(looked)}
    return {key: value for key, value in told.items() if value not in (None, [], ())}


def _refused(looked: Looked) -> list[str]:
    return [*(each.file.path for each in looked.judged.refused), *looked.auto_maps]

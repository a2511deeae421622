"""What a job reads: settled when it is submitted, laid out when it starts, so that the command finds local paths."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.spec import DIRECT, EVALUATED, READ_ONLY, WRITABLE, BoundInput
from workspace.blobs import Blob, Blobs
from workspace.errors import NotFound
from workspace.paths import plain_name, safe_join, writing

if TYPE_CHECKING:
    from jobs.files.ports import Input
    from workspace.assets import Asset
    from workspace.home import Workspace

LARGEST_KEPT = 1_000_000_000  # bytes of a local input of which a copy is kept; larger ones are read where they are


@dataclass(frozen=True, slots=True)
class Laid:
    """Inputs in an attempt's folder: what the command is told for each, and what is to be shown read-only there."""

    values: Mapping[str, str]
    read_only: Mapping[Path, Path] = field(default_factory=dict)
    unprotected: tuple[str, ...] = ()


def bind(workspace: Workspace, name: str, given: Input, folder: Path) -> BoundInput:
    """Settle an input of the file: an asset by its version, a local path by its content."""
    from jobs.files.references import Reference

    mode = given.mode or ""
    where = given.target(folder)
    if isinstance(where, Path):
        return _bind_local(workspace, name, given, where, folder)
    if isinstance(where, Reference):
        return _bind_asset(workspace, name, given, folder)
    from jobs.data import places
    from jobs.files.references import Url

    if mode == DIRECT and isinstance(where, Url) and places.mapped(workspace, where, folder) is None:
        return BoundInput(type=given.type, path=given.path, mode=mode)
    bound = _bind_local(workspace, name, given, places.find(workspace, where, folder=folder), folder)
    return bound if mode == DIRECT else replace(bound, path=given.path)


def lay_out(inputs: Mapping[str, BoundInput], folder: Path, *, blobs: Blobs, checkouts: Path, protect: bool) -> Laid:
    """Make the inputs in `folder`. With `protect`, read-only ones are left to be shown there; else they are copies."""
    values: dict[str, str] = {}
    read_only: dict[Path, Path] = {}
    unprotected: list[str] = []
    for name, given in inputs.items():
        if given.mode == DIRECT:
            values[name] = given.path
            continue
        place = folder / name
        target = place / plain_name(given.filename) if given.filename else place  # it gets into the command
        values[name] = str(target)
        with writing(target):
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if given.mode in READ_ONLY and protect:
                target.mkdir(mode=0o700) if given.is_folder else target.touch(mode=0o600)
                read_only[target] = _source(given, blobs, checkouts)
            elif given.mode in READ_ONLY:
                unprotected += [] if _lay_protected(given, target, blobs) else [name]
            elif given.mode == WRITABLE and given.place:
                target.symlink_to(given.place)
            else:
                _copy(given, target, blobs)
    return Laid(values, read_only, tuple(unprotected))


def lay_code(digest: str, folder: Path, blobs: Blobs) -> None:
    """Lay the code out in a folder of the attempt's own, in which the command may write."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if digest:
            _copy_folder(digest, folder, blobs)


def _bind_local(workspace: Workspace, name: str, given: Input, path: Path, folder: Path | None = None) -> BoundInput:
    from jobs import snapshots
    from workspace.blobs import files_of

    kind, mode = given.type, given.mode or ""
    if not path.exists():
        raise NotFound(f"input {name!r}: no file or folder at {str(path)!r}", hint="check the path")
    bound = BoundInput(type=kind, path=str(path), mode=mode, is_folder=path.is_dir(), place=str(path))
    if mode in (DIRECT, WRITABLE):
        return bound
    if kind == "mltable" and (table := _table(workspace, path, mode, folder)) is not None:
        return _kept_as(workspace, given, table, f"{name}-{path.stem}", "")
    files = [(path.name, path)] if path.is_file() else [(str(each.relative_to(path)), each) for each in files_of(path)]
    filename = path.name if path.is_file() else ""
    if sum(each.stat().st_size for _, each in files) > LARGEST_KEPT:
        return replace(bound, filename=filename, digest=f"signs:{snapshots.signs(files)}")
    blob = snapshots.kept(workspace, path, files, lambda: workspace.blobs.add(path))
    return _kept_as(workspace, replace(given, path=str(path)), blob, f"{name}-{path.stem}", filename)


def _kept_as(workspace: Workspace, given: Input, blob: Blob, called: str, filename: str) -> BoundInput:
    properties = {"filename": filename} if filename else {}
    asset = workspace.assets.put("data", re.sub(r"[^\w.-]", "_", called.lower())[:255], blob, properties=properties)
    return BoundInput(
        type=given.type, path=given.path, mode=given.mode or "", asset=asset.ref, digest=blob.digest,
        is_folder=blob.is_folder, filename=filename,
    )  # fmt: skip


def _table(workspace: Workspace, path: Path, mode: str, folder: Path | None) -> Blob | None:
    """Return what a table becomes: its files where it is evaluated, else itself with its files beside it."""
    from jobs.data import tables

    if tables.file_in(path) is None:
        return None  # a folder without an MLTable file is given as it is
    if mode in EVALUATED:
        return tables.evaluated(workspace, path, folder)
    return tables.localised(workspace, path, folder)


def _bind_asset(workspace: Workspace, name: str, given: Input, folder: Path) -> BoundInput:
    """Data or a model of the workspace; what it names elsewhere is fetched, and a table brings its files."""
    asset = _asset(workspace, given)
    is_elsewhere = "uri" in asset.properties
    is_table = given.type == "mltable" and asset.is_folder
    if not is_elsewhere and not is_table:
        bound = _bound(given, given.mode or "", asset)
        return replace(bound, path=str(workspace.assets.path(asset))) if bound.mode == DIRECT else bound
    from jobs.data import places

    if given.mode == DIRECT and is_elsewhere:
        return replace(
            bind(workspace, name, replace(given, path=str(asset.properties["uri"])), folder), asset=asset.ref
        )
    place = places.content(workspace, asset, folder=folder)
    return replace(_bind_local(workspace, name, given, place, folder), asset=asset.ref, path=given.path)


def _asset(workspace: Workspace, given: Input) -> Asset:
    from workspace.assets import KINDS

    parts = given.path.split(":")  # azureml:model:NAME:1 beside azureml:NAME:1
    if len(parts) == 4 and parts[1] in KINDS:
        return workspace.assets.get(parts[1], given.path)
    kind = "model" if given.type.endswith("_model") else "data"
    return workspace.assets.get(kind, given.path)


def _bound(given: Input, mode: str, asset: Asset) -> BoundInput:
    return BoundInput(
        type=given.type, path=given.path, mode=mode, asset=asset.ref, digest=asset.digest, is_folder=asset.is_folder,
        filename="" if asset.is_folder else Path(str(asset.properties.get("filename") or asset.name)).name,
    )  # fmt: skip


def _source(given: BoundInput, blobs: Blobs, checkouts: Path) -> Path:
    if given.place:
        return Path(given.place)
    place = checkouts / given.digest.removeprefix("sha256:")
    place = place / given.filename if given.filename else place
    return blobs.materialise(Blob(given.digest, 0, given.is_folder), place)


def _lay_protected(given: BoundInput, target: Path, blobs: Blobs) -> bool:
    """Lay an input out where the kernel shows nothing read-only; return whether its bytes are safe all the same."""
    if given.place:
        target.symlink_to(given.place)
        return False
    _copy(given, target, blobs)
    for path in sorted(target.rglob("*"), reverse=True) if given.is_folder else ():
        path.chmod(0o500 if path.is_dir() else 0o400)
    target.chmod(0o500 if given.is_folder else 0o400)
    return True


def _copy(given: BoundInput, target: Path, blobs: Blobs) -> None:
    if given.place:
        copy = shutil.copytree if given.is_folder else shutil.copyfile
        copy(given.place, target)
    elif given.is_folder:
        target.mkdir(mode=0o700)
        _copy_folder(given.digest, target, blobs)
    else:
        shutil.copyfile(blobs.path(given.digest), target)


def _copy_folder(digest: str, target: Path, blobs: Blobs) -> None:
    for entry in blobs.entries(digest):
        path = safe_join(target, entry.path)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        shutil.copyfile(blobs.path(entry.digest), path)
        path.chmod(0o700 if entry.executable else 0o600)

"""Files that a component lays beside its code: `additional_includes`, as Azure ML's package merges them."""

from __future__ import annotations

import dataclasses
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from jobs.files.component import Artifact, Component
from jobs.snapshots import code_files
from workspace.blobs import Blob
from workspace.errors import Invalid, NotFound, Unavailable
from workspace.home import Workspace

T = TypeVar("T")
_TIME = (1980, 1, 1, 0, 0, 0)  # in a zip of ours: the same files are the same bytes


def merged(workspace: Workspace, thing: T) -> T:
    """Return a component, or a pipeline and the components in it, with all that they include among their code."""
    found: T = _merged(workspace, thing)
    return found


def _merged(workspace: Workspace, thing: Any) -> Any:
    if isinstance(thing, Mapping):
        return {key: _merged(workspace, each) for key, each in thing.items()}
    if isinstance(thing, tuple):
        return tuple(_merged(workspace, each) for each in thing)
    if not dataclasses.is_dataclass(thing) or isinstance(thing, type):
        return thing
    includes = getattr(thing, "additional_includes", ()) if isinstance(thing, Component) else ()
    changes: dict[str, Any] = {"code": _code(workspace, thing), "additional_includes": ()} if includes else {}
    for each in dataclasses.fields(thing):
        if each.name in ("jobs", "component", "trial"):
            changes[each.name] = _merged(workspace, getattr(thing, each.name))
    return dataclasses.replace(thing, **changes) if changes else thing


def _code(workspace: Workspace, component: Any) -> Path:
    """Return a folder with the code of a component and what it includes; it is only for reading."""
    if component.code is not None and not isinstance(component.code, Path):
        hint = "name a folder as `code`"
        raise Invalid(f"{component.label} includes files beside code that is elsewhere", hint=hint)
    files = dict(code_files(component.code)) if component.code else {}
    with tempfile.TemporaryDirectory() as temporary:
        for include in component.additional_includes:
            files |= _included(component, include, Path(temporary))
        blob: Blob = workspace.blobs.add_files(files.items())
    return workspace.blobs.materialise(blob, workspace.home / "checkouts" / blob.digest.removeprefix("sha256:"))


def _included(component: Component, include: str | Artifact, temporary: Path) -> dict[str, Path]:
    if isinstance(include, Artifact):
        raise Unavailable(
            f"{component.label} includes {include.name!r}, a package of Azure DevOps, which cannot be had here",
            hint="download it and include its folder",
        )
    path = (component.origin.folder / include).resolve()
    if path.is_file():
        return {path.name: path}
    if path.is_dir():
        return {f"{path.name}/{name}": each for name, each in code_files(path)}
    if path.suffix == ".zip" and path.with_suffix("").is_dir():
        return {path.name: _zipped(path.with_suffix(""), temporary / path.name)}
    hint = f"paths start in {component.origin.folder}"
    raise NotFound(f"no file or folder at {include!r}, which {component.label} includes", hint=hint)


def _zipped(folder: Path, target: Path) -> Path:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(zipfile.ZipInfo(f"{folder.name}/", _TIME), "")
        for name, path in sorted(code_files(folder)):
            entry = zipfile.ZipInfo(f"{folder.name}/{name}", _TIME)
            entry.external_attr = (path.stat().st_mode & 0xFFFF) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            file.writestr(entry, path.read_bytes())
    return target

"""Files a flow takes from outside its folder: found within the project, and copied beside its own where it runs."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from flows.flow import Flow, Node
from workspace.documents import Document
from workspace.errors import Invalid, Location

_LEFT_OUT = shutil.ignore_patterns("__pycache__", ".git", ".promptflow", ".runs", ".venv", ".studiolo")


def resolve(document: Document) -> tuple[Path, ...]:
    """Return what `additional_includes` names; `folder.zip` of a folder that exists means that folder, zipped.

    Raises Invalid for what does not exist or lies outside the project the flow belongs to.
    """
    listed = document.get("additional_includes") or []
    if not isinstance(listed, list):
        raise Invalid("`additional_includes` must be a list of paths", at=document.at("additional_includes"))
    found = []
    for index, written in enumerate(listed):
        at = document.at("additional_includes", index)
        path = (document.path.resolve().parent / str(written)).resolve()
        refuse_outside(document.path, path, str(written), at)
        zipped = path.suffix == ".zip" and path.with_suffix("").is_dir()
        if not path.exists() and not zipped:
            raise Invalid(f"nothing at {written!r} to include", hint="paths are relative to the flow file", at=at)
        found.append(path)
    return tuple(found)


def find(file: Path, relative: str, included: tuple[Path, ...], *, at: Location) -> Path:
    """Return the file a node's source means: in the flow's folder, or in what is copied beside it."""
    folder = file.resolve().parent
    path = (folder / relative).resolve()
    if not path.is_relative_to(folder):
        raise Invalid(f"{relative!r} leads out of the flow folder", hint="use `additional_includes`", at=at)
    if path.is_file():
        return path
    first, _, rest = Path(relative).as_posix().partition("/")
    for include in included:
        candidate = (include / rest).resolve() if rest else include
        if include.name == first and candidate.is_file() and candidate.is_relative_to(include.parent):
            return candidate
    raise Invalid(f"no file {relative!r}", hint="paths are relative to the flow file", at=at)


def sub_flow(file: Path, relative: str, *, at: Location) -> Path:
    """Return the folder or file of a flow that is a node of another."""
    path = (file.resolve().parent / relative).resolve()
    refuse_outside(file, path, relative, at)
    if not path.exists():
        raise Invalid(f"no flow at {relative!r}", hint="paths are relative to the flow file", at=at)
    return path


@contextmanager
def merged(flow: Flow) -> Iterator[Flow]:
    """Give the flow as it runs: where it includes files, a copy of its folder with them beside its own."""
    if not flow.additional_includes:
        yield flow
        return
    with tempfile.TemporaryDirectory(prefix="studiolo-flow-") as made:
        folder = Path(made).resolve() / flow.folder.name
        copy(flow, folder)
        yield replace(
            flow,
            folder=folder,
            file=folder / flow.file.name,
            nodes=tuple(_moved(node, folder) for node in flow.nodes),
            additional_includes=(),
        )


def copy(flow: Flow, folder: Path) -> None:
    """Copy the flow's folder and what it includes; an include replaces a file of the same name.

    Links are followed. Raises Invalid for one that leads out of the project, or goes round in a circle.
    """
    _copy_tree(flow.folder, folder, file=flow.file)
    for include in flow.additional_includes:
        target = folder / include.name
        if include.is_dir():
            _copy_tree(include, target, file=flow.file)
        elif include.is_file():
            shutil.copy2(include, target)
        else:
            shutil.make_archive(str(target.with_suffix("")), "zip", include.with_suffix(""))


def _copy_tree(source: Path, target: Path, *, file: Path) -> None:
    def left_out(place: str, names: list[str]) -> set[str]:
        left = _LEFT_OUT(place, names)
        for path in (Path(place, name) for name in names if name not in left):
            if path.is_symlink():
                refuse_outside(file, path.resolve(), str(path.relative_to(source.parent)), Location(file))
                if any(parent.resolve() == path.resolve() for parent in path.parents):
                    raise Invalid(f"{path.name!r} is a link that goes round in a circle", at=Location(path))
        return set(left)

    shutil.copytree(source, target, dirs_exist_ok=True, ignore=left_out, ignore_dangling_symlinks=True)


def _moved(node: Node, folder: Path) -> Node:
    if node.path is None or node.type == "flow":
        return node
    return replace(node, path=folder / node.source.partition(":")[0])


def refuse_outside(file: Path, path: Path, written: str, at: Location) -> None:
    """Raise Invalid for a path that is not in the project that a flow's file belongs to."""
    root = _project(file.resolve().parent)
    if not path.is_relative_to(root):
        raise Invalid(f"{written!r} leads out of the project {root.name!r}", hint="copy it into the project", at=at)


def _project(folder: Path) -> Path:
    """The repository the flow lies in; else the current directory where the flow is under it; else its parent."""
    for parent in (folder, *folder.parents):
        if (parent / ".git").exists():
            return parent
    here = Path.cwd()
    return here if folder != here and folder.is_relative_to(here) else folder.parent

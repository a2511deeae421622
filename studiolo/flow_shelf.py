"""Where the flows of a project are: those registered as assets, folders that hold a flow file, and prompties."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import flows
from flows import snapshot
from flows.graph import FILES
from workspace.assets import Asset
from workspace.errors import NotFound, did_you_mean
from workspace.home import Workspace

_DEEP = 6
_MOST = 500
_SKIPPED = {"node_modules", "build", "dist", "site-packages", "venv", "__pycache__"}


@dataclass(frozen=True, slots=True)
class FlowFolder:
    """A flow that can be opened: `ref` is what addresses and commands call it, `path` where it lies."""

    ref: str
    path: Path
    origin: str  # "project", "asset" or "demo"


def flow_folders(workspace: Workspace) -> list[FlowFolder]:
    """Return the flows of the project that holds the workspace, then registered ones, then the demo."""
    project = workspace.home.parent
    found = [FlowFolder(path.relative_to(project).as_posix(), path, "project") for path in _walk(project)]
    found += [
        FlowFolder(asset.ref, workspace.assets.path(asset), "asset")
        for asset in workspace.assets.list("flow")
        if asset.is_folder
    ]
    demo = Path(str(files("studiolo") / "demo_flow"))
    if demo not in (folder.path for folder in found):
        found.append(FlowFolder("demo", demo, "demo"))
    return found


def flow_folder(workspace: Workspace, ref: str) -> FlowFolder:
    """Return the flow that an address names; NotFound where it is not among `flow_folders`."""
    known = {folder.ref: folder for folder in flow_folders(workspace)}
    if ref not in known:
        raise NotFound(f"no flow {ref!r}", hint=did_you_mean(ref, known))
    return known[ref]


def promote(workspace: Workspace, name: str, label: str) -> Asset:
    """Give a label to a version of a flow: "NAME", "NAME:3", or a folder, which is kept as a new version first."""
    if Path(name).exists():
        flow = flows.load(name)
        asset = snapshot.keep(workspace, flow.name, flow.folder)
    else:
        asset = workspace.assets.get("flow", name)
    return workspace.assets.label(asset, label)


def _walk(project: Path) -> Iterator[Path]:
    left = _MOST
    for here, folders, names in os.walk(project):
        path = Path(here)
        if left and any(name in FILES for name in names):
            left -= 1
            yield path
        elif prompties := [name for name in names if name.endswith(".prompty")]:
            yield from (path / name for name in sorted(prompties)[:left])
            left -= min(left, len(prompties))
        deep = len(path.relative_to(project).parts) >= _DEEP
        folders[:] = [] if deep or not left else sorted(name for name in folders if not _is_skipped(path / name))


def _is_skipped(folder: Path) -> bool:
    if folder.name.startswith(".") or folder.name in _SKIPPED:
        return True
    # A virtual environment holds other people's flows, a workspace copies of ours.
    return (folder / "pyvenv.cfg").exists() or (folder / "studiolo.db").exists()

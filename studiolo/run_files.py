"""The files a run left behind, by name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from workspace.errors import NotFound, did_you_mean
from workspace.home import Workspace
from workspace.paths import safe_join

_MOST = 1000


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file of a run; the name is its path below the run's `artifacts` folder."""

    name: str
    size: int


def artifacts(workspace: Workspace, run: str) -> list[Artifact]:
    """Return the files of a run by name, the first thousand."""
    folder = _folder(workspace, run)
    paths = sorted(path for path in folder.rglob("*") if path.is_file())[:_MOST] if folder.exists() else []
    return [Artifact(path.relative_to(folder).as_posix(), path.stat().st_size) for path in paths]


def artifact(workspace: Workspace, run: str, name: str) -> Path:
    """Return where one file of a run lies: `artifact(workspace, "compare-1", "report.html")`."""
    path = safe_join(_folder(workspace, run), name)
    if not path.is_file():
        known = (each.name for each in artifacts(workspace, run))
        raise NotFound(f"run {run!r} has no artifact {name!r}", hint=did_you_mean(name, known))
    return path


def _folder(workspace: Workspace, run: str) -> Path:
    return workspace.runs.get(run).directory / "artifacts"

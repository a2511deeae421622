"""Where a thing lies that a file names: on this machine already, or on it once it was fetched."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from jobs.files.references import DatastorePath, OutputPath, Reference, RunPath, Target, Url
from jobs.folders import outputs_of
from workspace.errors import Invalid, NotFound
from workspace.paths import safe_join

if TYPE_CHECKING:
    from workspace.home import Workspace


def find(workspace: Workspace, target: Target, *, kind: str = "data") -> Path:
    """Return the file or folder that is meant; it is only for reading. What is elsewhere is fetched first."""
    if isinstance(target, Path):
        return _there(target, str(target))
    if isinstance(target, Reference):
        from jobs.assets import versions

        asset = versions.find(workspace, kind, target.name, version=target.version, label=target.label)
        return workspace.assets.path(asset)
    if isinstance(target, OutputPath):
        return _output(workspace, target)
    if isinstance(target, RunPath):
        return _artifact(workspace, target)
    raise Invalid(f"{written(target)} cannot be read yet", hint="name a local path or an asset")


def written(target: Target) -> str:
    """Return what a place is called in files."""
    if isinstance(target, DatastorePath):
        return f"azureml://datastores/{target.datastore}/paths/{target.path}"
    if isinstance(target, OutputPath):
        return f"azureml://jobs/{target.job}/outputs/{target.output}/paths/{target.path}"
    if isinstance(target, RunPath):
        return f"runs:/{target.run}/{target.path}"
    return target.url if isinstance(target, Url) else str(target)


def _output(workspace: Workspace, target: OutputPath) -> Path:
    """An output of a job. `artifacts` and `default` are all that its run has left."""
    from jobs import records

    job = records.get(workspace, target.job)
    if target.output in ("artifacts", "default") and target.output not in (job.spec.get("outputs") or {}):
        place = workspace.home / "runs" / str(job.run_id) / "artifacts"
    else:
        place = outputs_of(workspace.home, job.name) / target.output
    return _there(_inside(place, target.path), written(target), hint=f"studiolo job show --name {target.job}")


def _artifact(workspace: Workspace, target: RunPath) -> Path:
    """What a run has left among its own files, or has logged to MLflow."""
    run = workspace.runs.get(target.run).run_id
    places = [workspace.home / "runs" / run / "artifacts", *workspace.home.glob(f"mlartifacts/*/{run}/artifacts")]
    found = [_inside(place, target.path) for place in places if place.exists()]
    return next((path for path in found if path.exists()), None) or _there(
        workspace.home / "runs" / run / "artifacts" / target.path, written(target), hint="check the path in the run"
    )


def _inside(place: Path, path: str) -> Path:
    path = path.strip("/")
    return safe_join(place, path) if path else place


def _there(path: Path, called: str, hint: str = "check the path") -> Path:
    if not path.exists():
        raise NotFound(f"no file or folder at {called!r}", hint=hint)
    return path

"""Where a thing lies that a file names: on this machine already, or on it once it was fetched."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from jobs.data import data_map
from jobs.data.datastores import Remote, locate
from jobs.files.references import DatastorePath, OutputPath, Reference, RunPath, Target, Url
from jobs.files.references import target as target_of
from jobs.folders import outputs_of
from workspace.errors import Invalid, NotFound
from workspace.paths import safe_join

if TYPE_CHECKING:
    from workspace.assets import Asset
    from workspace.home import Workspace

_LOGGED = (
    "SELECT artifact_location FROM logged_models WHERE source_run_id = ? AND name = ? AND lifecycle_stage = 'active' "
    "ORDER BY creation_timestamp_ms DESC LIMIT 1"
)
URI = "uri"  # the property of data that is elsewhere: where


def find(workspace: Workspace, target: Target, *, kind: str = "data", folder: Path | None = None) -> Path:
    """Return the file or folder that is meant; it is only for reading. What is elsewhere is fetched first.

    `folder` is where the file lies that names it: a map of data may lie there too.
    """
    if isinstance(target, Path):
        return _there(target, str(target))
    if isinstance(target, Reference):
        from jobs.assets import versions

        asset = versions.find(workspace, kind, target.name, version=target.version, label=target.label)
        return content(workspace, asset, folder=folder)
    if isinstance(target, OutputPath):
        return _output(workspace, target)
    if isinstance(target, RunPath):
        return _artifact(workspace, target)
    if (known := mapped(workspace, target, folder)) is not None:
        return known
    found: Path | Remote = Remote(url=target.url) if isinstance(target, Url) else locate(workspace, target)
    if isinstance(found, Path):
        return _there(found, written(target), hint="put files there, or check the path")
    return _fetched(workspace, found, folder)


def content(workspace: Workspace, asset: Asset, *, folder: Path | None = None) -> Path:
    """Return the content of data, also of data that is elsewhere."""
    if (uri := asset.properties.get(URI)) is None:
        return workspace.assets.path(asset)
    return find(workspace, target_of(str(uri), workspace.home), folder=folder)


def mapped(workspace: Workspace, target: Target, folder: Path | None) -> Path | None:
    """Return what a map of data says of a place; None where none does."""
    return data_map.find(workspace, written(target), folder)


def destination(workspace: Workspace, path: str, folder: Path) -> Path | Remote:
    """Return where an output goes that has a path of its own."""
    where = target_of(path, folder)
    if isinstance(where, Path):
        return where
    if isinstance(where, DatastorePath):
        return locate(workspace, where)
    if isinstance(where, Url):
        return Remote(url=where.url)
    raise Invalid(f"nothing can be written to {path!r}", hint="name a folder, a datastore or a URL")


def _fetched(workspace: Workspace, remote: Remote, folder: Path | None) -> Path:
    from jobs.data.fetching import fetch

    known = data_map.find(workspace, remote.url, folder)
    return fetch(workspace.settings, remote) if known is None else known


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
    place = outputs_of(workspace.home, target.job) / target.output
    if not place.exists() and target.output in ("artifacts", "default"):
        from jobs import records

        place = workspace.home / "runs" / str(records.get(workspace, target.job).run_id) / "artifacts"
    if not place.exists():
        place = _kept(workspace, target) or place
    found = _inside(place, target.path)
    if not found.exists():
        what = f"job {target.job!r} has left no output at {written(target)!r}"
        raise NotFound(what, hint=f"studiolo job show --name {target.job}")
    return found


def _kept(workspace: Workspace, target: OutputPath) -> Path | None:
    """The asset that an output has become, where its files are no more."""
    for kind in ("data", "model"):
        try:
            return workspace.assets.path(workspace.assets.get(kind, f"{target.job}-{target.output}"))
        except (NotFound, Invalid):
            continue
    return None


def _artifact(workspace: Workspace, target: RunPath) -> Path:
    """What a run has left among its own files, or has logged to MLflow."""
    run = workspace.runs.get(target.run).run_id
    places = [workspace.home / "runs" / run / "artifacts", *workspace.home.glob(f"mlartifacts/*/{run}/artifacts")]
    found = [_inside(place, target.path) for place in places if place.exists()]
    if (logged := _logged_model(workspace, run, target.path)) is not None:
        found.append(logged)
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


def _logged_model(workspace: Workspace, run: str, path: str) -> Path | None:
    """A model that MLflow 3 has logged: it lies beside the runs, and only MLflow's records say which run's it is."""
    database = workspace.home / "mlflow.db"
    if not database.is_file():
        return None
    name, _, rest = path.strip("/").partition("/")
    with contextlib.closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
        try:
            found = connection.execute(_LOGGED, (run, name)).fetchone()
        except sqlite3.OperationalError:  # an MLflow before 3 has no such table
            return None
    if found is None or not str(found[0]).startswith(workspace.home.as_uri()):
        return None
    return _inside(Path(unquote(urlsplit(str(found[0])).path)), rest)

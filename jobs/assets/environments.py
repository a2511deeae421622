"""Environments that are kept under a name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jobs.assets import versions
from jobs.assets.packing import pack, placed, unpack
from jobs.files.environment import Environment
from jobs.files.environment_file import EnvironmentFile
from jobs.files.plain import plain
from jobs.files.references import Reference
from workspace.errors import NotFound

if TYPE_CHECKING:
    from workspace.assets import Asset
    from workspace.home import Workspace

_NAME = "environment"
# Plain SQL: most jobs name a curated environment, and need not wait for SQLAlchemy to hear that it is none of ours.
_KEPT = "SELECT 1 FROM assets WHERE kind = 'environment' AND name = :name LIMIT 1"
_SAID = ("image", "conda_file", "build", "inference_config", "os_type")


def register(workspace: Workspace, file: EnvironmentFile) -> Asset:
    """Keep an environment, with the folder that it is built from."""
    said = plain(file)
    content = plain(file.environment()) | {key: said[key] for key in ("os_type", "build") if key in said}
    blob = pack(workspace, _NAME, content, file.origin)
    asset = workspace.assets.put(_NAME, file.name, blob, version=file.version, properties={"type": _NAME})
    return versions.noted(workspace, asset, {"description": file.description, "tags": dict(file.tags)})


def get(workspace: Workspace, ref: str) -> Environment:
    """Return what an environment of this workspace asks for: `get(workspace, "azureml:mine@latest")`."""
    return read(workspace, workspace.assets.get(_NAME, ref))


def read(workspace: Workspace, asset: Asset) -> Environment:
    """Return what an environment asks for."""
    from jobs.files import made

    folder = workspace.assets.path(asset)
    said = {key: each for key, each in unpack(folder, _NAME).items() if key in _SAID}
    found: EnvironmentFile = made(_NAME, {**said, "name": asset.name}, folder)
    return found.environment()


def settled(workspace: Workspace, written: Environment | Reference) -> Environment:
    """Return what a job's environment is: what this workspace keeps under its name, else a curated one."""
    named = written.name if isinstance(written, Environment) else None
    if isinstance(written, Environment) and named is None:
        return written
    found = written if isinstance(written, Reference) else Reference(name=named or "", version=written.version)
    if workspace.light.rows(_KEPT, name=found.name):
        return read(workspace, versions.find(workspace, _NAME, found.name, version=found.version, label=found.label))
    return Environment(name=found.name, version=found.version)


def shape(workspace: Workspace, asset: Asset) -> dict[str, Any]:
    """Return the JSON of an environment."""
    folder = workspace.assets.path(asset)
    try:
        said = placed(unpack(folder, _NAME), folder)
    except NotFound:
        said = {}
    return versions.shape(workspace, asset, {"os_type": "linux", **said})

"""Models that are kept under a name, wherever their files come from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.assets import versions
from jobs.assets.data import kept, path_of
from jobs.data import places
from jobs.files.model import Model
from jobs.files.references import OutputPath, RunPath, Target, target
from workspace.nodes import add_edges

if TYPE_CHECKING:
    from workspace.assets import Asset
    from workspace.home import Workspace
    from workspace.runs import RunRecord

_NOTES = ("description", "tags", "properties", "stage")


def register(workspace: Workspace, model: Model) -> Asset:
    """Keep a model; what it comes from is told to the lineage."""
    where = target(model.path, model.origin.folder)
    place = places.find(workspace, where, kind="model")
    properties: dict[str, Any] = {"type": model.type}
    if model.flavors:
        properties["flavors"] = dict(model.flavors)
    properties |= {"filename": place.name} if place.is_file() else {}
    source = _run_of(workspace, where)
    if source is not None:
        properties["job_name"] = where.job if isinstance(where, OutputPath) else source.name
    asset = workspace.assets.put("model", model.name, kept(workspace, place), version=model.version,
                                 properties=properties)  # fmt: skip
    if source is not None:
        with workspace.light.write() as statements:
            add_edges(statements, source.run_id, [(f"run:{source.run_id}", asset.ref)])
    return versions.noted(workspace, asset, {key: _plain(getattr(model, key)) for key in _NOTES})


def _run_of(workspace: Workspace, where: Target) -> RunRecord | None:
    """Return the run that has left a model, where its path says so."""
    if isinstance(where, RunPath):
        return workspace.runs.get(where.run)
    if not isinstance(where, OutputPath):
        return None
    from jobs import records

    return workspace.runs.get(str(records.get(workspace, where.job).run_id))


def get(workspace: Workspace, ref: str) -> Path:
    """Return the files of a model; they are only for reading."""
    return workspace.assets.path(workspace.assets.get("model", ref))


def shape(workspace: Workspace, asset: Asset) -> dict[str, Any]:
    """Return the JSON of a model."""
    own: dict[str, Any] = {"type": asset.properties.get("type", "custom_model"), "path": path_of(asset)}
    own |= {key: asset.properties[key] for key in ("flavors", "job_name") if key in asset.properties}
    found = versions.shape(workspace, asset, own)
    return {"properties": {}, "stage": None, **found}


def _plain(value: Any) -> Any:
    return dict(value) if hasattr(value, "keys") else value

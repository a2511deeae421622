"""Data that is kept under a name: local content in the workspace, anything else by where it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.assets import versions
from jobs.data import places, tables
from jobs.data.places import URI
from jobs.files.data import Data
from jobs.files.references import OutputPath, Reference, RunPath, target

if TYPE_CHECKING:
    from workspace.assets import Asset
    from workspace.blobs import Blob
    from workspace.home import Workspace

LOCAL = "azureml://datastores/workspaceblobstore/paths/LocalUpload"


def register(workspace: Workspace, data: Data) -> Asset:
    """Keep data under its name."""
    name = data.name or ""
    where = target(data.path, data.origin.folder)
    properties: dict[str, Any] = {"type": data.type}
    if isinstance(where, Path | Reference | OutputPath | RunPath):
        place = places.find(workspace, where)
        is_table = data.type == "mltable" and tables.file_in(place) is not None
        content = tables.moved(workspace, place) if is_table else kept(workspace, place)
        if place.is_file() and not is_table:
            properties["filename"] = place.name
    else:
        properties[URI] = places.written(where)
        content = workspace.blobs.add(json.dumps({URI: properties[URI]}).encode())
    asset = workspace.assets.put("data", name, content, version=data.version, properties=properties)
    return versions.noted(workspace, asset, {"description": data.description, "tags": dict(data.tags)})


def kept(workspace: Workspace, place: Path) -> Blob:
    """Keep a file or folder; what has not changed since it was kept is not read again."""
    from jobs import snapshots
    from workspace.blobs import files_of

    files = [(place.name, place)]
    if place.is_dir():
        files = [(path.relative_to(place).as_posix(), path) for path in files_of(place)]
    return snapshots.kept(workspace, place, files, lambda: workspace.blobs.add(place))


def shape(workspace: Workspace, asset: Asset) -> dict[str, Any]:
    """Return the JSON of data."""
    usual = "uri_folder" if asset.is_folder else "uri_file"
    own = {"type": asset.properties.get("type", usual), "path": path_of(asset), "properties": {}}
    return versions.shape(workspace, asset, own)


def path_of(asset: Asset) -> str:
    """Return where the data is, in words that files take."""
    if URI in asset.properties:
        return str(asset.properties[URI])
    base = f"{LOCAL}/{asset.digest.removeprefix('sha256:')}"
    return f"{base}/" if asset.is_folder else f"{base}/{asset.properties.get('filename') or asset.name}"

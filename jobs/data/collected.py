"""What a deployment collects, as data: each collection is an asset, ENDPOINT-DEPLOYMENT-COLLECTION as in Azure ML."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobs.data.places import URI
from workspace.paths import safe_join

if TYPE_CHECKING:
    from workspace.assets import Asset
    from workspace.home import Workspace

FOLDER = "modelDataCollector"


def asset_of(workspace: Workspace, endpoint: str, deployment: str, collection: str) -> Asset:
    """Return the asset of what a deployment collects; it leads to the files, which go on growing."""
    folder = safe_join(workspace.home / FOLDER, f"{endpoint}/{deployment}/{collection}")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    uri = f"file://{folder.resolve()}"
    properties = {"type": "uri_folder", URI: uri}
    return workspace.assets.put("data", f"{endpoint}-{deployment}-{collection}", uri.encode(), properties=properties)

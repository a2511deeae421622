"""Datastores by name. `workspaceblobstore` and its like are folders of the workspace itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jobs.assets import kept
from jobs.files.datastore import Datastore
from jobs.files.overrides import Override
from jobs.files.plain import plain
from workspace.errors import Invalid
from workspace.resources import Resource

if TYPE_CHECKING:
    from workspace.home import Workspace

KIND = "datastore"
DEFAULT = "workspaceblobstore"
OWN = {
    DEFAULT: "azure_blob", "workspaceartifactstore": "azure_blob", "workspacefilestore": "azure_file",
    "workspaceworkingdirectory": "azure_file",
}  # fmt: skip


def register(workspace: Workspace, datastore: Datastore) -> Resource:
    """Keep a datastore; its credentials are sealed."""
    if datastore.name in OWN:
        raise Invalid(f"{datastore.name!r} is a folder of the workspace", hint="take another name")
    return kept.keep(workspace, KIND, plain(datastore))


def get(workspace: Workspace, name: str) -> Resource:
    """Return a datastore."""
    return _own(name) if name in OWN else workspace.resources.get(KIND, name)


def listed(workspace: Workspace) -> list[Resource]:
    """Return all datastores."""
    return [*map(_own, OWN), *workspace.resources.list(KIND)]


def updated(workspace: Workspace, name: str, changes: tuple[Override, ...], removed: tuple[str, ...]) -> dict[str, Any]:
    """Return what a file would say of it with values changed."""
    return kept.updated(workspace, KIND, name, changes, removed)


def delete(workspace: Workspace, name: str) -> None:
    """Forget a datastore; what is in it stays where it is."""
    if name in OWN:
        raise Invalid(f"{name!r} is a folder of the workspace and stays", hint="delete files in it instead")
    workspace.resources.delete(KIND, name)


def shape(workspace: Workspace, resource: Resource) -> dict[str, Any]:
    """Return the JSON of a datastore, without its credentials."""
    found = kept.shape(workspace, resource)
    if resource.name in OWN:
        found |= {"path": str(workspace.home / "datastores" / resource.name), "creation_context": None}
    return found | {"is_default": resource.name == DEFAULT}


def _own(name: str) -> Resource:
    spec = {"type": OWN[name], "description": "A folder of the workspace."}
    return Resource(kind=KIND, name=name, spec=spec, secret_names=(), created_at=0.0, updated_at=0.0)

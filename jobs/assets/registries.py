"""Registries by name. Their assets are this workspace's own: `azureml://registries/R/models/M/versions/1` is `M:1`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jobs.assets import kept, versions
from jobs.files.overrides import Override
from jobs.files.plain import plain
from jobs.files.registry import Registry
from workspace.blobs import Blob
from workspace.errors import Invalid
from workspace.resources import Resource

if TYPE_CHECKING:
    from workspace.assets import Asset
    from workspace.home import Workspace

KIND = "registry"


def register(workspace: Workspace, registry: Registry) -> Resource:
    """Keep a registry."""
    if not registry.name:
        raise Invalid("a registry needs a name", hint="name: shared")
    return kept.keep(workspace, KIND, plain(registry))


def get(workspace: Workspace, name: str) -> Resource:
    """Return a registry."""
    return workspace.resources.get(KIND, name)


def listed(workspace: Workspace) -> list[Resource]:
    """Return all registries."""
    return workspace.resources.list(KIND)


def updated(workspace: Workspace, name: str, changes: tuple[Override, ...], removed: tuple[str, ...]) -> dict[str, Any]:
    """Return what a file would say of it with values changed."""
    return kept.updated(workspace, KIND, name, changes, removed)


def delete(workspace: Workspace, name: str) -> None:
    """Forget a registry; assets stay."""
    workspace.resources.delete(KIND, name)


def share(workspace: Workspace, asset: Asset, registry: str, *, name: str = "", version: str = "") -> Asset:
    """Keep a version in a registry, under another name where one is given; the content is stored once.

    `share(workspace, workspace.assets.get("model", "mine:1"), "shelf", name="support-bot", version="3")`.
    """
    get(workspace, registry)
    content = Blob(asset.digest, asset.size, asset.is_folder)
    shared = workspace.assets.put(
        asset.kind, name or asset.name, content, version=version or asset.version, properties=asset.properties
    )
    return shared if shared.notes else versions.noted(workspace, shared, asset.notes)


def shape(workspace: Workspace, resource: Resource) -> dict[str, Any]:
    """Return the JSON of a registry."""
    return kept.shape(workspace, resource)

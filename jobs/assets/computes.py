"""Computes by name: each stands for this machine, or for the Ray cluster that its `resource_id` is the address of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jobs.assets import kept
from jobs.files.compute import Compute
from jobs.files.overrides import Override
from jobs.files.plain import plain
from jobs.ray.computes import address_of
from workspace.errors import Invalid
from workspace.resources import Resource

if TYPE_CHECKING:
    from workspace.home import Workspace

KIND = "compute"
LOCAL = "local"


def register(workspace: Workspace, compute: Compute) -> Resource:
    """Keep a compute."""
    if compute.name == LOCAL:
        raise Invalid("'local' is this machine", hint="take another name")
    return kept.keep(workspace, KIND, plain(compute))


def get(workspace: Workspace, name: str) -> Resource:
    """Return a compute."""
    return _local() if name == LOCAL else workspace.resources.get(KIND, name)


def listed(workspace: Workspace) -> list[Resource]:
    """Return all computes."""
    return [_local(), *workspace.resources.list(KIND)]


def updated(workspace: Workspace, name: str, changes: tuple[Override, ...], removed: tuple[str, ...]) -> dict[str, Any]:
    """Return what a file would say of it with values changed."""
    return kept.updated(workspace, KIND, name, changes, removed)


def delete(workspace: Workspace, name: str) -> None:
    """Forget a compute."""
    if name == LOCAL:
        raise Invalid("'local' is this machine and stays")
    workspace.resources.delete(KIND, name)


def shape(workspace: Workspace, resource: Resource) -> dict[str, Any]:
    """Return the JSON of a compute."""
    found = kept.shape(workspace, resource)
    address = address_of(workspace, resource.name) or LOCAL
    return found | {"location": LOCAL, "address": address, "provisioning_state": "Succeeded", "state": "Running"}


def _local() -> Resource:
    spec = {"type": LOCAL, "description": "This machine."}
    return Resource(kind=KIND, name=LOCAL, spec=spec, secret_names=(), created_at=0.0, updated_at=0.0)

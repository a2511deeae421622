"""Connections by name, in Azure ML's words. Those that flows know too are theirs as well, with the same secret."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from flows import connection_store
from flows.connections import Connection as FlowConnection
from jobs.assets import kept
from jobs.files.connection import Connection
from jobs.files.overrides import Override
from jobs.files.plain import plain
from workspace.errors import Invalid, NotFound
from workspace.resources import Resource

if TYPE_CHECKING:
    from workspace.home import Workspace

KIND = "connection"
# Our kind, prompt flow's, and what prompt flow calls the fields.
_FLOWS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "azure_open_ai": ("azure_open_ai", {"azure_endpoint": "api_base", "api_version": "api_version"}),
    "open_ai": ("open_ai", {"target": "base_url"}),
    "serp": ("serp", {}),
    "azure_ai_search": ("cognitive_search", {"endpoint": "api_base"}),
    "azure_content_safety": ("azure_content_safety", {"endpoint": "endpoint"}),
    "azure_ai_services": ("azure_ai_services", {"endpoint": "endpoint"}),
    "serverless": ("serverless", {"endpoint": "api_base"}),
}


def register(workspace: Workspace, connection: Connection) -> Resource:
    """Keep a connection; its credentials are sealed. Its target is shown to everybody: no password may be in it."""
    if _has_password(connection.target or ""):
        raise Invalid(
            "`target` has a password in it, which everybody would be shown", hint="give it under `credentials`"
        )
    found = kept.keep(workspace, KIND, plain(connection))
    for_flows = _for_flows(kept.opened(workspace, found))
    if for_flows is not None:
        connection_store.create(workspace, for_flows)
    return found


def get(workspace: Workspace, name: str) -> Resource:
    """Return a connection without its secrets; one that was made for flows counts as well."""
    found = workspace.resources.find(KIND, name)
    return _of_flows(connection_store.show(workspace, name)) if found is None else found


def opened(workspace: Workspace, name: str) -> dict[str, Any]:
    """Return a connection with its secrets, as its file says it; for whoever uses it now, never to be shown."""
    return kept.opened(workspace, workspace.resources.get(KIND, name.removeprefix("azureml:")))


def listed(workspace: Workspace) -> list[Resource]:
    """Return all connections by name."""
    found = {each.name: each for each in workspace.resources.list(KIND)}
    for each in connection_store.list_connections(workspace):
        found.setdefault(each.name, _of_flows(each))
    return [found[name] for name in sorted(found)]


def updated(workspace: Workspace, name: str, changes: tuple[Override, ...], removed: tuple[str, ...]) -> dict[str, Any]:
    """Return what a file would say of it with values changed."""
    return kept.updated(workspace, KIND, name, changes, removed)


def delete(workspace: Workspace, name: str) -> None:
    """Forget a connection."""
    known = workspace.resources.find(KIND, name)
    if known is not None:
        workspace.resources.delete(KIND, name)
    try:
        connection_store.delete_connection(workspace, name)
    except NotFound:
        if known is None:
            raise


def shape(workspace: Workspace, resource: Resource) -> dict[str, Any]:
    """Return the JSON of a connection: of its secrets, that they are there."""
    return kept.shape(workspace, resource)


def _has_password(target: str) -> bool:
    try:
        return bool(urlsplit(target).password)
    except ValueError:  # no address at all
        return False


def _for_flows(said: Mapping[str, Any]) -> FlowConnection | None:
    """Return the connection that flows use, where they know its kind and a key opens it."""
    credentials = said.get("credentials") or {}
    key = said.get("api_key") or credentials.get("key")
    if said["type"] not in _FLOWS or not key:
        return None
    kind, names = _FLOWS[said["type"]]
    configs = {theirs: str(said[ours]) for ours, theirs in names.items() if said.get(ours)}
    return FlowConnection(name=said["name"], type=kind, configs=configs, secrets={"api_key": str(key)})


def _of_flows(stored: connection_store.Stored) -> Resource:
    spec = {"type": stored.type, **stored.configs, **dict.fromkeys(stored.secret_names, kept.MASK)}
    return Resource(
        kind=KIND, name=stored.name, spec=spec, secret_names=stored.secret_names, created_at=stored.created_at,
        updated_at=stored.updated_at,
    )  # fmt: skip

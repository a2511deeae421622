"""What resources have in common: their secrets are taken out, sealed and never shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from jobs.assets import versions
from jobs.files.overrides import Override
from workspace.errors import Invalid

if TYPE_CHECKING:
    from workspace.home import Workspace
    from workspace.resources import Resource

MASK = "******"
SECRET = frozenset({
    "account_key", "sas_token", "client_secret", "certificate", "kerberos_password", "pat", "password",
    "secret_access_key", "key", "api_key", "admin_password",
})  # fmt: skip
_PROVIDERS = {
    "datastore": "datastores", "compute": "computes", "registry": "registries", "connection": "connections",
}  # fmt: skip


def keep(workspace: Workspace, kind: str, said: Mapping[str, Any]) -> Resource:
    """Keep what a file says of a resource; a secret that is masked stays as it was."""
    name = str(said["name"])
    spec, secrets = apart({key: each for key, each in said.items() if key != "name"})
    masked = {key for key, value in secrets.items() if value == MASK}
    if masked:
        old = workspace.resources.find(kind, name)
        known = workspace.resources.secrets_of(old) if old else {}
        if missing := masked - set(known):
            raise Invalid(f"{kind} {name!r} has no value for {sorted(missing)[0]}", hint="give the secret itself")
        secrets |= {key: known[key] for key in masked}
    return workspace.resources.put(kind, name, spec, secrets=secrets)


def apart(said: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return what may be shown, and the secrets by their way: `{"credentials.account_key": "…"}`."""
    secrets = dict(_secrets(said))
    return _masked(said), secrets


def opened(workspace: Workspace, resource: Resource) -> dict[str, Any]:
    """Return what a file would say, secrets and all: for whoever uses it now, never to be shown."""
    found: dict[str, Any] = _copy(resource.spec)
    for way, value in workspace.resources.secrets_of(resource).items():
        *steps, last = way.split(".")
        place = found
        for step in steps:
            place = place[step]
        place[last] = value
    return found | {"name": resource.name}


def updated(
    workspace: Workspace, kind: str, name: str, changes: tuple[Override, ...], removed: tuple[str, ...]
) -> dict[str, Any]:
    """Return what a file would say of a resource with values changed; its other secrets are masked."""
    if any(way.split(".")[0] in ("name", "type") for way, _ in changes):
        raise Invalid(f"the name and type of a {kind} do not change", hint="delete it and create another")
    known = workspace.resources.get(kind, name)
    return versions.changed({"name": known.name, **_copy(known.spec)}, changes, removed)


def shape(workspace: Workspace, resource: Resource) -> dict[str, Any]:
    """Return the JSON of a resource, without its secrets."""
    base = versions.workspace_id(workspace)
    return {
        "name": resource.name,
        "id": f"{base}/{_PROVIDERS[resource.kind]}/{resource.name}",
        "description": "",
        "tags": {},
        **_copy(resource.spec),
        "creation_context": versions.context(resource.created_at, resource.updated_at),
    }


def _secrets(value: Mapping[str, Any], way: str = "") -> Iterator[tuple[str, str]]:
    for key, each in value.items():
        if isinstance(each, Mapping):
            yield from _secrets(each, f"{way}{key}.")
        elif key in SECRET and isinstance(each, str):
            yield f"{way}{key}", each


def _masked(value: Any, key: str = "") -> Any:
    if isinstance(value, Mapping):
        return {str(name): _masked(each, str(name)) for name, each in value.items()}
    if isinstance(value, list):
        return [_masked(each) for each in value]
    return MASK if key in SECRET and isinstance(value, str) else value


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copy(each) for key, each in value.items()}
    return [_copy(each) for each in value] if isinstance(value, list) else value

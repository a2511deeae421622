"""OpenAI-compatible servers elsewhere: where they are, and the key that a connection of the workspace holds."""

from __future__ import annotations

import asyncio
import time

from serving.endpoints import Deployment
from serving.upstream import Address
from workspace.errors import Invalid
from workspace.home import Workspace

FRESH = 10.0  # seconds for which a connection is believed
_BASES = ("base_url", "api_base", "endpoint")  # what the types of connections call the address
_KINDS = ("open_ai", "serverless", "custom")


class Remotes:
    """The remote servers that one gateway knows, read again from the workspace when older than some seconds."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._found: dict[tuple[str, str], tuple[float, Address]] = {}

    async def address(self, deployment: Deployment) -> Address:
        """Return where a deployment's server is and the key it asks for."""
        name, base_url = _named(deployment), str(deployment.properties.get("base_url") or "")
        if not name:
            return Address.parse(base_url)
        at, address = self._found.get((name, base_url), (0.0, None))
        if address is None or time.monotonic() - at >= FRESH:
            address = await asyncio.to_thread(_opened, self._workspace, name, base_url)
            self._found[name, base_url] = (time.monotonic(), address)
        return address

    def forget(self, deployment: Deployment) -> None:
        """Read its connection again the next time."""
        self._found.pop((_named(deployment), str(deployment.properties.get("base_url") or "")), None)


def _named(deployment: Deployment) -> str:
    return str(deployment.properties.get("connection") or "")


def _opened(workspace: Workspace, name: str, base_url: str) -> Address:
    from flows import connection_store

    connection = connection_store.get(workspace, name)
    if connection.type not in _KINDS:
        hint = f"types that can: {', '.join(_KINDS)}"
        raise Invalid(f"connection {name!r} is of type {connection.type}, which is no OpenAI server", hint=hint)
    found = base_url or next((connection.configs[each] for each in _BASES if connection.configs.get(each)), "")
    if not found:
        raise Invalid(f"connection {name!r} names no address", hint="set base_url in it or in the deployment")
    return Address.parse(found, key=connection.secrets.get("api_key") or "")

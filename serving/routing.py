"""From the `model` of a request to the deployment that answers it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from serving import endpoints
from serving.endpoints import Deployment, Endpoint
from serving.openai_errors import Refusal
from workspace.home import Workspace

FRESH = 1.0  # seconds for which the records are believed


class Routes:
    """All that can be asked for, read again from the workspace when older than a second."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._known: Mapping[str, Endpoint] = {}
        self._read_at = -FRESH
        self._lock = asyncio.Lock()

    async def current(self) -> Mapping[str, Endpoint]:
        """Return the endpoints by the name a client may use."""
        if time.monotonic() - self._read_at >= FRESH:
            async with self._lock:
                if time.monotonic() - self._read_at >= FRESH:
                    started = time.monotonic()
                    self._known = await asyncio.to_thread(endpoints.addressable, self._workspace)
                    self._read_at = started
        return self._known


def choose(known: Mapping[str, Endpoint], name: str) -> Deployment:
    """Return the deployment for "endpoint", chosen by traffic, or for "endpoint/deployment", which names it."""
    if endpoint := known.get(name):
        return endpoint.deployments[endpoint.split.choose()]
    base, _, way = name.rpartition("/")
    if endpoint := known.get(base):
        if way in endpoint.deployments:
            return endpoint.deployments[way]
        raise _unknown(f"endpoint {base!r} has no deployment {way!r}", endpoint.deployments)
    raise _unknown(f"no model {name!r}", shown(known))


def described(known: Mapping[str, Endpoint], name: str) -> dict[str, Any]:
    """Return one entry of the model list, as OpenAI clients read it."""
    endpoint = known.get(name) or known.get(name.rpartition("/")[0])
    if endpoint is None or (name not in known and name.rpartition("/")[2] not in endpoint.deployments):
        raise _unknown(f"no model {name!r}", shown(known))
    return {"id": name, "object": "model", "created": int(endpoint.created_at), "owned_by": "studiolo"}


def shown(known: Mapping[str, Endpoint]) -> list[str]:
    """Return the names that a list shows: a model by its name only, not once more by version and label."""
    return sorted(name for name in known if ":" not in name and "@" not in name)


def _unknown(message: str, known: Any) -> Refusal:
    names = ", ".join(sorted(known)) or "none yet: run `studiolo models prepare`"
    return Refusal(404, f"{message}; known: {names}", code="model_not_found", param="model")

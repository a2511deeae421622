"""From the `model` of a request to the deployment that answers it."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from serving import endpoints
from serving.endpoints import Deployment, Endpoint
from serving.openai_errors import Refusal
from serving.traffic import cohort_of, key_of
from workspace.home import Workspace

FRESH = 1.0  # seconds for which the records are believed
_SOON = 0.5  # seconds after which they are read again, before anybody has to wait for it
NAMED = b"azureml-model-deployment"  # the header that names the deployment, without regard to traffic


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """What answers a request: the deployment, those that stand in when it cannot, and the one that gets a copy."""

    deployment: Deployment
    others: tuple[Deployment, ...] = ()
    mirror: Deployment | None = None
    cohort: str | None = None


class Routes:
    """All that can be asked for, read again from the workspace when older than a second."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._known: Mapping[str, Endpoint] = {}
        self._read_at = -FRESH
        self._lock = asyncio.Lock()
        self._reading: asyncio.Task[None] | None = None

    async def current(self) -> Mapping[str, Endpoint]:
        """Return the endpoints by the name a client may use."""
        age = time.monotonic() - self._read_at
        if age >= FRESH:
            async with self._lock:
                if time.monotonic() - self._read_at >= FRESH:
                    await self._read()
        elif age >= _SOON and self._reading is None:
            self._reading = asyncio.create_task(self._read())
            self._reading.add_done_callback(self._read_ended)
        return self._known

    async def _read(self) -> None:
        started = time.monotonic()
        self._known = await asyncio.to_thread(endpoints.addressable, self._workspace)
        self._read_at = started

    def _read_ended(self, done: asyncio.Task[None]) -> None:
        self._reading = None
        if not done.cancelled():
            done.exception()  # the next to ask reads for itself, and meets the same


def way(known: Mapping[str, Endpoint], name: str, *, request: Mapping[str, Any], headers: Mapping[bytes, bytes]) -> Way:
    """Return who answers a request for "endpoint", by traffic and cohort, or for "endpoint/deployment".

    The header `azureml-model-deployment` names a deployment too. The same user, or session, meets the same deployment.
    "endpoint:adapter" and "endpoint/deployment:adapter" are answered by the deployments that have this adapter.
    """
    if name not in known and (narrowed := _with_adapter(known, name)):
        known, name = narrowed, name.rpartition(":")[0]
    endpoint, named = known.get(name), headers.get(NAMED, b"").decode("latin-1")
    if endpoint is None or named:
        base = endpoint or known.get(name.rpartition("/")[0])
        return Way(deployment=_named(base, known, f"{name}/{named}" if named and base else name))
    split = endpoint.split
    key = key_of(endpoint.name, request, headers)
    chosen = endpoint.deployments[split.choose() if key is None else split.choose_for(key)]
    others = endpoint.properties.get("fallback") or ()
    return Way(
        deployment=chosen,
        others=tuple(endpoint.deployments[other] for other in others if other in endpoint.deployments)
        if others
        else (),
        mirror=_mirror(endpoint, chosen) if endpoint.mirror else None,
        cohort=None if key is None else cohort_of(key),
    )


def choose(known: Mapping[str, Endpoint], name: str) -> Deployment:
    """Return the deployment that would answer a request which says no more than the name."""
    return way(known, name, request={}, headers={}).deployment


def adapter_of(name: str, deployment: Deployment) -> str | None:
    """Return which adapter of the deployment a request's `model` names: `"support:polite"` names "polite"."""
    adapter = name.rpartition(":")[2] if ":" in name else ""
    return adapter if adapter in (deployment.properties.get("adapters") or {}) else None


def described(known: Mapping[str, Endpoint], name: str) -> dict[str, Any]:
    """Return one entry of the model list, as OpenAI clients read it."""
    endpoint = known.get(name) or known.get(name.rpartition("/")[0])
    if endpoint is None or (name not in known and name.rpartition("/")[2] not in endpoint.deployments):
        raise _unknown(f"no model {name!r}", shown(known))
    return {"id": name, "object": "model", "created": int(endpoint.created_at), "owned_by": "studiolo"}


def shown(known: Mapping[str, Endpoint]) -> list[str]:
    """Return the names that a list shows: a model by its name only, not once more by version and label."""
    return sorted(name for name in known if ":" not in name and "@" not in name)


def _with_adapter(known: Mapping[str, Endpoint], name: str) -> Mapping[str, Endpoint] | None:
    """Return the endpoint that "endpoint:adapter" means, with those deployments alone; None for any other name."""
    base = name.rpartition(":")[0]
    endpoint = known.get(base) or known.get(base.rpartition("/")[0])
    if endpoint is None:
        return None
    fit = {each.name: each for each in endpoint.deployments.values() if adapter_of(name, each)}
    if not fit:
        return None
    traffic = {deployment: weight for deployment, weight in endpoint.traffic.items() if deployment in fit}
    mirror = {deployment: weight for deployment, weight in endpoint.mirror.items() if deployment in fit}
    return {endpoint.name: replace(endpoint, deployments=fit, traffic=traffic, mirror=mirror)}


def _mirror(endpoint: Endpoint, chosen: Deployment) -> Deployment | None:
    for name, percent in endpoint.mirror.items():
        if name != chosen.name and name in endpoint.deployments and random.random() * 100 < percent:  # noqa: S311
            return endpoint.deployments[name]
    return None


def _named(endpoint: Endpoint | None, known: Mapping[str, Endpoint], path: str) -> Deployment:
    if endpoint is None:
        raise _unknown(f"no model {path!r}", shown(known))
    name = path.rpartition("/")[2]
    if name not in endpoint.deployments:
        raise _unknown(f"endpoint {endpoint.name!r} has no deployment {name!r}", endpoint.deployments)
    return endpoint.deployments[name]


def _unknown(message: str, known: Any) -> Refusal:
    names = ", ".join(sorted(known)) or "none yet: run `studiolo models prepare`"
    return Refusal(404, f"{message}; known: {names}", code="model_not_found", param="model")

"""One request as its route sees it: who asks for what, the house it came to, and the ways to answer."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.types import Receive, Send

from serving.admission import Headers, read_json
from serving.call import Call, Limits, headers_of
from serving.endpoints import Deployment
from serving.exchange import Exchange
from serving.idempotency import Replays
from serving.kept_calls import KeptCalls
from serving.meters import Meters
from serving.metrics import Metrics
from serving.mirror import Mirror
from serving.openai_errors import Refusal
from serving.plane import Plane
from serving.readiness import Engines
from serving.rollouts.watch import Watch
from serving.routing import Routes
from serving.rows import Rows
from workspace.home import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """What lives between requests: the workspace, what can be asked for, the engines and the ways to them."""

    workspace: Workspace
    limits: Limits
    models: Routes
    engines: Engines
    plane: Plane
    rows: Rows
    mirror: Mirror
    replays: Replays
    kept: KeptCalls
    watch: Watch
    meters: Meters
    metrics: Metrics


@dataclass(slots=True, kw_only=True)
class Visit:
    """One request, on its way through a route."""

    house: House
    call: Call
    method: str
    headers: Headers
    receive: Receive
    send: Send
    query: bytes = b""
    exchange: Exchange | None = None  # tells at once when the client has left
    fit: Callable[[Deployment], Awaitable[None]] | None = None  # what the call still needs once it is known who answers
    values: Mapping[str, str] = field(default_factory=dict)  # what stands for {id} in the path

    async def read(self) -> dict[str, Any]:
        """Return the JSON object in the body; the call keeps it, and as it came."""
        self.call.body, value = await read_json(self.headers, self.receive, limit=self.house.limits.body)
        self.call.request = value
        return value

    async def answer(self, value: Any, *, status: int = 200) -> None:
        """Answer with JSON."""
        await self.answer_bytes(json.dumps(value).encode(), status=status)

    async def refuse(self, told: Refusal) -> None:
        """Answer with an error."""
        await self.answer_bytes(told.body, status=told.status, headers=told.headers)

    async def answer_bytes(
        self,
        body: bytes,
        *,
        kind: str = "application/json",
        status: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Answer with bytes of a kind: "text/plain"."""
        given = {"content-type": kind, "content-length": str(len(body)), **(headers or {})}
        told = [(name.encode(), value.encode("latin-1", "replace")) for name, value in given.items()]
        self.call.begun = self.call.answered = True
        await self.send({"type": "http.response.start", "status": status, "headers": [*headers_of(self.call), *told]})
        await self.send({"type": "http.response.body", "body": body})

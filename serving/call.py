"""One request at the gateway: what it may take, what happens to it, and the headers that tell a client of it."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from serving.endpoints import Deployment
from serving.events import Usage
from serving.trace_context import TraceContext
from workspace.tokens import TokenRecord

_SAME = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))
LONGEST_NAME = 256  # letters that are kept of the model that a client named
MODEL_ERROR = 424  # the status of a request to /score that the code behind could not answer
LEFT = 499  # the status of a request whose client did not wait for the answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a request may take, in seconds and bytes."""

    first_token: float = 60.0
    between_tokens: float = 30.0
    total: float = 600.0
    loading: float = 120.0
    body: int = 10_000_000
    file: int = 200_000_000  # bytes of a file that is uploaded, as at OpenAI


@dataclass(slots=True, kw_only=True)
class Call:
    """One request; what happens to it is noted here and becomes its row."""

    id: str
    path: str
    token_id: str
    asks: str = ""  # the engine's path, where it is not the client's: a response is a chat to the engine
    body: bytes = b""
    request: Mapping[str, Any] = field(default_factory=dict)
    scored: bool = False  # for /score: the engine gets the body as it came, and never twice
    told: bytes = b""  # header lines for the engine besides
    trace: TraceContext | None = None
    started: float = field(default_factory=time.monotonic)
    deadline: float = math.inf
    deployment: Deployment | None = None
    cohort: str | None = None
    key: TokenRecord | None = None  # who asks
    limits: Mapping[str, str] = field(default_factory=dict)  # what is left to its token, as headers x-ratelimit-…
    cost: float | None = None
    answer_id: str | None = None  # what the answer calls itself: "chatcmpl-…"
    mirror_of: str | None = None  # the request that this is a copy of
    failures: list[str] = field(default_factory=list)  # attempts that failed before the one that is told
    status: int = 500
    error: str | None = None
    first_byte: float | None = None
    usage: Usage | None = None
    finish: str | None = None  # why the answer ended: "stop"
    dropped: int = 0  # items of its conversation that its model could not read
    begun: bool = False  # the headers are out
    answered: bool = False

    @property
    def stream(self) -> bool:
        """Whether the answer was asked for as it is made."""
        return self.request.get("stream") is True

    def patience(self, seconds: float) -> float:
        """Return `seconds`, or less when the time for the whole request runs out before."""
        return max(0.0, min(seconds, self.deadline - time.monotonic()))

    def row(self) -> dict[str, Any]:
        """Return what is kept of the request: who, what, how long, how much; never its text."""
        now = time.monotonic()
        way = self.deployment
        asked = self.request.get("model")
        return {
            "request_id": self.id,
            "started_at": time.time() - (now - self.started),
            "response_id": self.answer_id,
            "token": self.token_id,
            "path": self.path,
            "asked": asked[:LONGEST_NAME] if isinstance(asked, str) else None,
            "endpoint": way.endpoint if way else None,
            "deployment": way.path if way else None,
            "engine": way.engine if way else None,
            "model": way.model if way else None,
            "stream": self.stream,
            "cohort": self.cohort,
            "mirror": self.mirror_of is not None,
            "mirror_of": self.mirror_of,
            "failures": self.failures,
            "status": self.status,
            "error": self.error,
            "finish": self.finish,
            "prompt_tokens": self.usage.prompt if self.usage else None,
            "completion_tokens": self.usage.completion if self.usage else None,
            "cost": self.cost,
            "first_byte_ms": None if self.first_byte is None else round((self.first_byte - self.started) * 1e3, 2),
            "duration_ms": round((now - self.started) * 1e3, 2),
            "traceparent": self.trace.traceparent if self.trace else None,
            "parent_span": self.trace.parent if self.trace else None,
            "asked_by": self.trace.asked_by if self.trace else None,
        }


def headers_of(call: Call) -> list[tuple[bytes, bytes]]:
    """Return the headers that every answer has: which request it was, how long it took, who answered."""
    found = [
        (b"x-request-id", call.id.encode()),
        (b"openai-processing-ms", b"%d" % ((time.monotonic() - call.started) * 1e3)),
        *_SAME,
    ]
    if way := call.deployment:
        found += [(b"x-studiolo-deployment", _bytes(way.path)), (b"x-studiolo-model", _bytes(way.model))]
        if way.engine == "flow":
            found.append((b"x-studiolo-flow-version", _bytes(way.model.rpartition(":")[2])))
    if call.dropped:
        found.append((b"x-studiolo-dropped-items", b"%d" % call.dropped))
    if call.cohort:
        found.append((b"x-studiolo-cohort", call.cohort.encode()))
    found += [(name.encode(), _bytes(value)) for name, value in call.limits.items()]
    return found


def _bytes(value: str) -> bytes:
    return value.encode("latin-1", "replace")

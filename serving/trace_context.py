"""The W3C trace context of a request: the trace it belongs to, what it hangs under, whether it becomes a span.

A caller that says `traceparent` is gone on with, unless it says too that its own spans are told to nobody. Engines are
told of it with the request itself as their parent, so that what they record hangs under it. Of all traces a share is
kept, chosen by the trace's id: whoever keeps the same share keeps the same traces.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from flows.line_trace import UNTOLD
from workspace.errors import Invalid

PROPERTY = "traces"  # of an endpoint: the percent of its requests that become spans
_PARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
_TRACE = re.compile(r"(?!0{32})[0-9a-f]{32}")
_LONGEST = 512  # bytes of `tracestate`: what everybody passes on
_UNTOLD = UNTOLD.encode()


@dataclass(frozen=True, slots=True)
class TraceContext:
    """Where one request stands in its trace; `state` is what others along the way have added for themselves."""

    trace: str
    span: str
    parent: str | None = None  # the caller's span
    wanted: bool = True  # False: the caller records nothing of this trace, and neither do we
    percent: float = 100.0
    state: bytes = b""
    asked_by: str | None = None  # the caller's `traceparent` where its spans are told to nobody: no parent, but a trail

    @property
    def sampled(self) -> bool:
        """Whether the request becomes a span."""
        if not self.wanted or self.percent >= 100:
            return self.wanted
        return int(self.trace[-14:], 16) < self.percent / 100 * (1 << 56)

    @property
    def traceparent(self) -> str:
        """The request itself, as whoever works for it is told."""
        return f"00-{self.trace}-{self.span}-{self.sampled:02x}"

    @property
    def lines(self) -> bytes:
        """The header lines for an engine."""
        state = b"tracestate: %b\r\n" % self.state if self.state else b""
        return b"traceparent: %b\r\n%b" % (self.traceparent.encode(), state)

    def child(self) -> TraceContext:
        """Return a request that is made for this one."""
        return replace(self, span=_span(), parent=self.span)


def begin(headers: Mapping[bytes, bytes], request_id: str, *, percent: float) -> TraceContext:
    """Return the context of a request that has come in; without a caller's, its trace is named after it."""
    if found := _PARENT.fullmatch(headers.get(b"traceparent", b"")):
        trace, parent, flags = (each.decode() for each in found.groups())
        state, wanted = headers.get(b"tracestate", b""), bool(int(flags, 16) & 1)
        if state == _UNTOLD:  # a trace whose root never comes would be under way for ever
            return replace(_own(request_id, percent), wanted=wanted, asked_by=f"00-{trace}-{parent}-{flags}")
        state = state if len(state) <= _LONGEST else b""
        return TraceContext(trace, _span(), parent, wanted=wanted, percent=percent, state=state)
    return _own(request_id, percent)


def _own(request_id: str, percent: float) -> TraceContext:
    trace = request_id if _TRACE.fullmatch(request_id) else f"{random.getrandbits(128) or 1:032x}"
    return TraceContext(trace, _span(), percent=percent)


def at(context: TraceContext, properties: Mapping[str, Any]) -> TraceContext:
    """Return the context with the share that an endpoint's properties say, where they say one."""
    told = share(properties)
    return context if told is None else replace(context, percent=told)


def share(properties: Mapping[str, Any]) -> float | None:
    """Return the percent that an endpoint's properties say, None where they say nothing; Invalid where it is none."""
    told = (properties.get("properties") or {}).get(PROPERTY)
    if told is None:
        return None
    try:
        found = float(told)
    except (TypeError, ValueError):
        found = -1.0
    if not 0 <= found <= 100:
        raise Invalid(f"the property {PROPERTY!r} is the percent of requests that become spans, not {told!r}")
    return found


def _span() -> str:
    return f"{random.getrandbits(64) or 1:016x}"

"""The W3C trace of a line: model servers are told of it, so that what they record hangs under the call that asked.

https://www.w3.org/TR/trace-context/
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass

PARENT = re.compile(r"^[0-9a-f]{2}-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-[0-9a-f]{2}$")
# What a gateway of ours reads in `tracestate`: nobody will be told of the spans of who asks, as of a run over rows, so
# that a request begins a trace of its own, and only notes by whom it was asked.
UNTOLD = "studiolo=untold"
_LONGEST = 512  # characters of `tracestate`: what everybody passes on


@dataclass(slots=True)
class LineTrace:
    """The trace of one line: its caller's, or one of its own, whose `id` is made where the first model is asked.

    `flags` and `state` are what models' servers are told; `span` is what their requests hang under where nothing is
    kept of the line itself.
    """

    id: str = ""
    flags: str = "01"
    state: str = ""
    span: str = ""

    def headers(self, span: str) -> dict[str, str]:
        """Return the headers of a request that a span makes."""
        self.id = self.id or f"{random.getrandbits(128) or 1:032x}"
        told = {"traceparent": f"00-{self.id}-{self.span or span}-{self.flags}"}
        return told | ({"tracestate": self.state} if self.state else {})


def new_span() -> str:
    """Return an id for a span."""
    return f"{random.getrandbits(64) or 1:016x}"


def of_request(headers: Mapping[bytes, bytes], *, kept: bool) -> LineTrace | None:
    """Return the trace of a line that was asked for over HTTP; None where there is nobody to tell of it.

    `kept` is whether spans of the line are told; where not, its requests hang under the caller's own span.
    """
    found = PARENT.match(headers.get(b"traceparent", b"").decode("latin-1"))
    if found is None:
        return LineTrace() if kept else None
    state = headers.get(b"tracestate", b"").decode("latin-1")
    return LineTrace(
        id=found["trace"], flags=f"{int(found.string[-2:], 16) & 1:02x}", state=state if len(state) <= _LONGEST else "",
        span="" if kept else found["span"],
    )  # fmt: skip


def of_row(*, told: bool) -> LineTrace:
    """Return the trace of a line that nobody asked for."""
    return LineTrace(state="" if told else UNTOLD)

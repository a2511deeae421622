"""What happens inside a node: spans that nest under the node that is running, and the tokens it spent.

Nothing here knows OpenTelemetry: a span is a plain record, written with its line and turned into other forms later.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Literal

from flows.line_trace import LineTrace, new_span
from flows.prices import Prices
from flows.results import SpanRecord, plain

Kind = Literal["node", "function", "llm", "embedding", "retrieval", "tool", "chain", "try"]

PRICES = Prices({})  # of the workspace whose flow runs in this process; `use_prices` sets them
CURRENT: ContextVar[Span | None] = ContextVar("studiolo_span", default=None)


@dataclass(slots=True)
class Span:
    """Something that is happening. Times are UTC seconds; tokens and cost are its own, without its children's."""

    kind: Kind
    name: str
    inputs: Any = None
    output: Any = None
    error: str | None = None
    started_at: float = 0.0
    ended_at: float = 0.0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None  # US dollars; None where it is not known
    model: str | None = None
    attributes: dict[str, Any] = field(default_factory=dict)
    children: list[Span] = field(default_factory=list)
    trace: LineTrace | None = None  # of the line
    id: str = ""  # in that trace, where somebody was told of the span

    def set(self, **attributes: Any) -> None:
        """Add attributes, by their `gen_ai.*` or other names with dots written as keyword `a__b`."""
        self.attributes.update({name.replace("__", "."): value for name, value in attributes.items()})

    def walk(self) -> Iterator[Span]:
        """Yield the span and everything under it."""
        yield self
        for child in self.children:
            yield from child.walk()

    def tokens(self) -> tuple[int, int]:
        """Return the tokens of the span and everything under it: prompt, completion."""
        if not self.children:
            return self.prompt_tokens, self.completion_tokens
        spans = list(self.walk())
        return sum(span.prompt_tokens for span in spans), sum(span.completion_tokens for span in spans)

    def own_cost(self) -> float | None:
        """Return what it was said to cost, else what its tokens cost by the workspace's prices, without its children.

        None where neither is known.
        """
        return self.cost if self.cost is not None else PRICES.of(self.model, self.prompt_tokens, self.completion_tokens)

    def total_cost(self) -> float | None:
        """Return the known cost of the span and everything under it, None where nothing is known."""
        known = [cost for span in self.walk() if (cost := span.own_cost()) is not None]
        return sum(known) if known else None

    def answered_by(self) -> str | None:
        """Return the first model named in the span or under it."""
        return next((span.model for span in self.walk() if span.model), None)

    def record(self) -> SpanRecord:
        """Return what is written of the span."""
        return SpanRecord(
            kind=self.kind, name=self.name, inputs=plain(self.inputs), output=plain(self.output), error=self.error,
            started_at=self.started_at, ended_at=self.ended_at or self.started_at,
            tokens=(self.prompt_tokens, self.completion_tokens), cost=self.own_cost(), model=self.model,
            attributes=plain(self.attributes), id=self.id, spans=tuple(child.record() for child in self.children),
        )  # fmt: skip


def use_prices(prices: Prices) -> None:
    """Have what models cost from now on counted by these prices."""
    global PRICES
    PRICES = prices


def current() -> Span | None:
    """Return the span in which this code runs: a node's, or one opened inside it. None outside a flow."""
    return CURRENT.get()


def headers() -> dict[str, str]:
    """Return the headers by which a server hears of the current span: the W3C trace context. Outside a flow none."""
    span = CURRENT.get()
    if span is None or span.trace is None:
        return {}
    span.id = span.id or new_span()
    return span.trace.headers(span.id)


@contextmanager
def child(kind: Kind, name: str, *, inputs: Any = None, attributes: Mapping[str, Any] | None = None) -> Iterator[Span]:
    """Open a span under the current one; an exception that passes through is kept as its error.

    Outside a flow the span is made and forgotten.
    """
    span = Span(kind, name, inputs=inputs, started_at=time.time(), attributes=dict(attributes or {}))
    if (parent := CURRENT.get()) is not None:
        parent.children.append(span)
        span.trace = parent.trace
    token = CURRENT.set(span)
    try:
        yield span
    except BaseException as error:
        span.error = f"{type(error).__name__}: {error}"
        raise
    finally:
        span.ended_at = time.time()
        CURRENT.reset(token)


def record_usage(
    *, prompt_tokens: int = 0, completion_tokens: int = 0, model: str | None = None, cost: float | None = None
) -> None:
    """Add what a model call spent to the current span; does nothing outside a flow."""
    span = CURRENT.get()
    if span is None:
        return
    span.prompt_tokens += prompt_tokens
    span.completion_tokens += completion_tokens
    span.model = model or span.model
    if cost is not None:
        span.cost = (span.cost or 0.0) + cost

"""Calling one node of one line: what it gave or why it failed, when, and how quick it is."""

from __future__ import annotations

import inspect
import time
from collections.abc import Mapping
from typing import Any

from flows.line import Line
from flows.plan import Job
from flows.results import plain
from flows.spans import CURRENT, Span
from flows.steps import KIT, Kit
from flows.streams import Stream, collect, pump, readers

QUICK = 0.001  # seconds: a node that lately took less is called by the leading thread
STUCK = 0.02  # seconds: after so long in one call the lead is given to another thread
SLOW = -8  # quick calls that a slow node owes before the leader calls it again


class NodeTimeout(Exception):
    """A node took longer than it may."""


Outcome = tuple[Any, BaseException | None]


def call(line: Line, job: Job, span: Span, values: dict[str, Any], kit: Kit) -> Outcome:
    """Call a node here and now; what it raises is returned."""
    token, kit_token = CURRENT.set(span), KIT.set(kit)
    span.started_at, span.trace = time.time(), line.trace
    try:
        return _value(line, job, job.step.call(**readers(values))), None
    except BaseException as problem:  # noqa: BLE001 - the flow's own code may raise anything, SystemExit too
        return None, problem
    finally:
        span.ended_at = time.time()
        CURRENT.reset(token)
        KIT.reset(kit_token)


async def call_async(line: Line, job: Job, span: Span, values: dict[str, Any], kit: Kit) -> Outcome:
    """Call an async node on this loop; what it raises is returned."""
    CURRENT.set(span)
    KIT.set(kit)
    span.started_at, span.trace = time.time(), line.trace
    try:
        made = job.step.call(**readers(values))
        if not inspect.isasyncgen(made):
            made = await made
        if inspect.isasyncgen(made):
            made = pump(made) if line.stream and job.streams else await collect(made)
        return _value(line, job, made), None
    except BaseException as problem:  # noqa: BLE001 - the flow's own code may raise anything
        return None, problem
    finally:
        span.ended_at = time.time()


def _value(line: Line, job: Job, made: Any) -> Any:
    """A generator becomes a stream; it is read to its end here, unless its pieces are wanted as they come."""
    if not inspect.isgenerator(made) and not isinstance(made, Stream):
        return made
    stream = made if isinstance(made, Stream) else Stream(made)
    if not (line.stream and job.streams):
        stream.joined()
    return stream


def learn(job: Job, span: Span, *, led: bool) -> None:
    """Remember of a node whether the leading thread may call it."""
    took = span.ended_at - span.started_at
    if took < QUICK:
        job.quick = min(job.quick + 1, 1)
    elif took > STUCK:
        job.quick = SLOW
    elif led:
        job.quick = -1


def shown(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return inputs as the trace keeps them."""
    return {name: plain(value.so_far() if type(value) is Stream else value) for name, value in values.items()}

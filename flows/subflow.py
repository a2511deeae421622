"""A flow as a node of another: its outputs, by name, are the node's output."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from typing import Any, cast

from flows.flow import Node
from flows.graph import load
from flows.mapping import converted
from flows.plan import compile_lines
from flows.references import Reference
from flows.results import COMPLETED, LineRecord, NodeRecord, SpanRecord
from flows.spans import CURRENT, Kind, Span
from flows.steps import Kit, Step
from workspace.errors import Invalid

DEEPEST = 8  # flows within flows


def make(node: Node, kit: Kit) -> Step:
    """Make the inner flow ready in this process; Invalid where flows contain each other without end."""
    assert node.path is not None  # noqa: S101 - the reader asks for it
    depth = kit.depth + 1
    if depth > DEEPEST:
        raise Invalid(f"flows within flows go deeper than {DEEPEST}", hint="does a flow contain itself?", at=node.at)
    flow = load(node.path)
    if str(flow.folder) not in sys.path:
        sys.path.append(str(flow.folder))
    inner = compile_lines(replace(kit, flow=flow, depth=depth, stream=False))

    async def call(**values: Any) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[LineRecord] = loop.create_future()
        span = CURRENT.get()
        trace = span.trace if span is not None else None
        kit.within(
            inner, converted(flow, values), lambda line: loop.call_soon_threadsafe(ended.set_result, line), trace
        )
        line = await ended
        if span is not None:
            span.children += [_span(record) for record in line.nodes]
        if line.status != COMPLETED:
            raise RuntimeError(f"the flow {flow.name!r} failed: {line.error or 'it waits for a person'}")
        return dict(line.outputs or {})

    constants = {name: value for name, value in node.inputs.items() if not isinstance(value, Reference)}
    return Step(node=node, call=call, is_async=True, accepts=frozenset(flow.inputs), constants=constants)


def _span(record: NodeRecord) -> Span:
    """Return what a node of the inner flow did; what happened inside it counts for itself."""
    inside = [_inner(each) for each in record.spans]
    spent = [each.tokens() for each in inside]
    costs = [cost for each in inside if (cost := each.total_cost()) is not None]
    return Span(
        "chain", record.name, inputs=dict(record.inputs), output=record.output, error=record.error,
        started_at=record.started_at, ended_at=record.ended_at, children=inside,
        prompt_tokens=record.tokens[0] - sum(prompt for prompt, _ in spent),
        completion_tokens=record.tokens[1] - sum(completion for _, completion in spent),
        cost=None if record.cost is None else record.cost - sum(costs), model=None if inside else record.model,
    )  # fmt: skip


def _inner(record: SpanRecord) -> Span:
    prompt, completion = record.tokens
    return Span(
        cast("Kind", record.kind), record.name, inputs=record.inputs, output=record.output, error=record.error,
        started_at=record.started_at, ended_at=record.ended_at, prompt_tokens=prompt, completion_tokens=completion,
        cost=record.cost, model=record.model, attributes=dict(record.attributes), id=record.id,
        children=[_inner(each) for each in record.spans],
    )  # fmt: skip

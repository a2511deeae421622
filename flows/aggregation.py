"""What aggregation nodes see: one list per flow input and node, with a value for each completed line, in line order."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from flows.flow import Flow
from flows.results import COMPLETED, FAILED, LineRecord, NodeRecord, plain
from flows.spans import Span

if TYPE_CHECKING:
    from flows.plan import Plan

Lists = dict[str, list[object]]


def has_aggregation(flow: Flow) -> bool:
    """Whether something of the flow runs once over all lines; of a flex class that is known when it is made."""
    return flow.kind == "flex" or any(node.aggregation for node in flow.nodes)


def gather(flow: Flow, lines: Iterable[LineRecord]) -> tuple[Lists, Lists]:
    """Return the lists of flow inputs and of node outputs that aggregation nodes use; a node that did not run is None.

    Old and new lines of a resumed run stand in line order in all of them: rows stay together.
    """
    inputs: Lists = {}
    outputs: Lists = {}
    aggregations = {node.name for node in flow.nodes if node.aggregation}
    for node in flow.nodes:
        for reference in node.references() if node.aggregation else ():
            if reference.is_input:
                inputs[str(reference.path[0])] = []
            elif reference.source not in aggregations:
                outputs[reference.source] = []
    for line in lines:
        for name, values in inputs.items():
            values.append(line.inputs.get(name))
        made = {node.name: node.output for node in line.nodes} if outputs else {}
        for name, values in outputs.items():
            values.append(made.get(name))
    return inputs, outputs


def over_outputs(plan: Plan, outputs: list[Any]) -> tuple[NodeRecord, ...]:
    """Give the outputs of all lines to what a flex class does with them; its failure is in the record."""
    records = []
    for job in plan.jobs:
        if job.step.aggregate is None:
            continue
        span = Span("node", f"{job.node.name}.__aggregate__", inputs={}, started_at=time.time())
        try:
            span.output = job.step.aggregate(outputs)
        except Exception as problem:  # noqa: BLE001 - the flow's own code may raise anything
            span.error = f"{type(problem).__name__}: {problem}"
        records.append(
            NodeRecord(
                name=span.name, type="flex", status=FAILED if span.error else COMPLETED, error=span.error,
                output=plain(span.output), started_at=span.started_at, ended_at=time.time(),
            )
        )  # fmt: skip
    return tuple(records)

"""A flow, or one of its nodes, once: what a person tries before running it over rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flows.connections import Connection
from flows.crew import worker
from flows.flow import Flow
from flows.mapping import converted
from flows.results import COMPLETED, NodeRecord
from workspace.errors import Invalid, did_you_mean


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowResult:
    """What one line of a flow came to."""

    status: str
    outputs: Mapping[str, Any]
    error: str | None
    nodes: tuple[NodeRecord, ...]
    metrics: Mapping[str, float]


def test(flow: Flow, inputs: Mapping[str, Any], *, connections: Mapping[str, Connection]) -> FlowResult:
    """Run a flow once; its aggregation nodes see lists of length one. Raises Invalid for wrong inputs."""
    unknown = [name for name in inputs if name not in flow.inputs]
    if unknown:
        raise Invalid(f"the flow has no input {unknown[0]!r}", hint=did_you_mean(unknown[0], flow.inputs))
    try:
        given = converted(flow, inputs)
    except ValueError as error:
        raise Invalid(str(error), hint="give it as --inputs name=value") from None
    with worker(flow, connections, concurrency=16) as crew:
        crew.send_line(0, given)
        line = crew.receive_line()
        nodes, metrics = line.nodes, dict[str, float]()
        if line.status == COMPLETED and any(node.aggregation for node in flow.nodes):
            lists: dict[str, Any] = {f"inputs.{name}": [value] for name, value in given.items()}
            lists |= {node.name: [node.output] for node in line.nodes}
            more, metrics = crew.aggregate(lists)
            nodes += more
    return FlowResult(status=line.status, outputs=line.outputs or {}, error=line.error, nodes=nodes, metrics=metrics)

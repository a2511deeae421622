"""A flow, or one of its nodes, once: what a person tries before running it over rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from flows.aggregation import has_aggregation
from flows.connections import Connection
from flows.crew import Conditions, Crew, Task, crew, without_log
from flows.flow import MISSING, Flow, Node, Output
from flows.mapping import converted
from flows.references import Reference, follow
from flows.results import COMPLETED, NodeRecord
from workspace.errors import Invalid, NotFound, did_you_mean


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowResult:
    """What one line of a flow came to."""

    status: str
    outputs: Mapping[str, Any]
    error: str | None
    nodes: tuple[NodeRecord, ...]
    metrics: Mapping[str, float]
    trace: str = ""


def test(
    flow: Flow,
    inputs: Mapping[str, Any],
    *,
    connections: Mapping[str, Connection],
    conditions: Conditions | None = None,
    given: Mapping[str, Any] | None = None,
    workers: Crew | None = None,
) -> FlowResult:
    """Run a flow once; its aggregation nodes see lists of length one. Raises Invalid for wrong inputs.

    `given` are outputs that stand in for running their nodes; `workers` a process started before.
    """
    unknown = [name for name in inputs if name not in flow.inputs]
    if unknown:
        raise Invalid(f"the flow has no input {unknown[0]!r}", hint=did_you_mean(unknown[0], flow.inputs))
    try:
        values = converted(flow, inputs)
    except ValueError as error:
        raise Invalid(str(error), hint="give it as --inputs name=value") from None
    with crew(flow, connections, without_log(conditions or Conditions()), started=workers) as running:
        line = running.test(Task(0, values, given))
        nodes, metrics = line.nodes, dict[str, float]()
        if line.status == COMPLETED and has_aggregation(flow):
            more, metrics = running.aggregate(line)
            nodes += more
    return FlowResult(
        status=line.status, outputs=line.outputs or {}, error=line.error, nodes=nodes, metrics=metrics, trace=line.trace
    )


def test_node(
    flow: Flow,
    name: str,
    values: Mapping[str, Any],
    *,
    connections: Mapping[str, Connection],
    conditions: Conditions | None = None,
    workers: Crew | None = None,
) -> FlowResult:
    """Run one node alone. A value is given by `node.output`, `inputs.x`, or the name of the node's own input."""
    node = flow.node(name)
    if node is None:
        hint = did_you_mean(name, [each.name for each in flow.nodes])
        raise NotFound(f"the flow has no node {name!r}", hint=hint)
    alone = replace(
        node,
        inputs={key: _given(flow, node, key, value, values) for key, value in node.inputs.items()},
        activate=None,
        aggregation=False,
    )
    only = replace(
        flow,
        inputs={},
        nodes=(alone,),
        outputs={"output": Output(name="output", type="object", value=Reference(name, ()))},
    )
    return test(only, {}, connections=connections, conditions=conditions, workers=workers)


def _given(flow: Flow, node: Node, key: str, value: Any, values: Mapping[str, Any]) -> Any:
    if not isinstance(value, Reference):
        return values.get(key, value)
    if key in values:
        return values[key]
    names = [f"inputs.{value.path[0]}", f"flow.{value.path[0]}"] if value.is_input else [f"{value.source}.output"]
    for spelling in (*names, *([str(value.path[0])] if value.is_input else [value.source])):
        if spelling in values:
            path = value.path[1:] if value.is_input else value.path
            return follow(values[spelling], path)
    if value.is_input and (default := flow.inputs[str(value.path[0])].default) is not MISSING:
        return follow(default, value.path[1:])
    raise Invalid(f"node {node.name!r} needs a value for {key!r}", hint=f"give it as --inputs {names[0]}=… or {key}=…")

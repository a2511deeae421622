"""The order in which nodes can run, checked once: unknown names, circles, and aggregation that leaks into lines."""

from __future__ import annotations

from dataclasses import replace
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from flows.dag import Flow, Node, Output, read
from flows.references import Reference
from workspace.errors import Invalid, did_you_mean


def load(path: Path | str, *, variant: str | None = None) -> Flow:
    """Read a flow folder or file, check it whole, and put its nodes in an order in which they can run.

    `variant` as "node.variant" replaces one node's default. Raises Invalid with `file:line:column`.
    """
    flow = read(Path(path), variant=variant)
    nodes = {node.name: node for node in flow.nodes}
    for node in flow.nodes:
        for reference in node.references():
            _check(flow, nodes, node, reference)
    for output in flow.outputs.values():
        if isinstance(output.value, Reference):
            _check(flow, nodes, output, output.value)
    needs = {node.name: {r.source for r in node.references() if not r.is_input} for node in flow.nodes}
    try:
        order = tuple(TopologicalSorter(needs).static_order())
    except CycleError as error:
        circle = [*reversed(error.args[1])]
        raise Invalid(f"nodes go round in a circle: {' → '.join(circle)}", at=nodes[circle[0]].at) from None
    return replace(flow, nodes=tuple(nodes[name] for name in order))


def _check(flow: Flow, nodes: dict[str, Node], user: Node | Output, reference: Reference) -> None:
    who = f"{type(user).__name__.lower()} {user.name!r}"
    if reference.is_input:
        name = str(reference.path[0])
        if name not in flow.inputs:
            hint = did_you_mean(name, flow.inputs)
            raise Invalid(f"{who} uses the input {name!r}, which is not declared", hint=hint, at=user.at)
    elif reference.source not in nodes:
        hint = did_you_mean(reference.source, nodes)
        raise Invalid(f"{who} uses the node {reference.source!r}, which does not exist", hint=hint, at=user.at)
    elif isinstance(user, Node) and nodes[reference.source].aggregation and not user.aggregation:
        raise Invalid(
            f"{who} uses the aggregation node {reference.source!r}, which runs after all lines",
            hint=f"make {user.name!r} an aggregation node too",
            at=user.at,
        )

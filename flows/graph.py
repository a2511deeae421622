"""The order in which nodes can run, checked once: unknown names, circles, and aggregation that leaks into lines."""

from __future__ import annotations

from dataclasses import replace
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from flows.dag import Flow, Node, read
from flows.references import Reference
from workspace.errors import Invalid, Location, did_you_mean


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
            _check_exists(flow, nodes, f"output {output.name!r}", output.value)
    needs = {node.name: {r.source for r in node.references() if not r.is_input} for node in flow.nodes}
    try:
        order = tuple(TopologicalSorter(needs).static_order())
    except CycleError as error:
        circle = " → ".join(reversed(error.args[1]))
        raise Invalid(f"nodes go round in a circle: {circle}", at=Location(flow.file)) from None
    return replace(flow, nodes=tuple(nodes[name] for name in order))


def _check(flow: Flow, nodes: dict[str, Node], node: Node, reference: Reference) -> None:
    _check_exists(flow, nodes, f"node {node.name!r}", reference)
    if not reference.is_input and nodes[reference.source].aggregation and not node.aggregation:
        raise Invalid(
            f"node {node.name!r} uses the aggregation node {reference.source!r}, which runs after all lines",
            hint=f"make {node.name!r} an aggregation node too",
            at=Location(flow.file),
        )


def _check_exists(flow: Flow, nodes: dict[str, Node], who: str, reference: Reference) -> None:
    if reference.is_input:
        if reference.path[0] not in flow.inputs:
            hint = did_you_mean(str(reference.path[0]), flow.inputs)
            raise Invalid(
                f"{who} uses the input {reference.path[0]!r}, which is not declared", hint=hint, at=Location(flow.file)
            )
    elif reference.source not in nodes:
        hint = did_you_mean(reference.source, nodes)
        raise Invalid(
            f"{who} uses the node {reference.source!r}, which does not exist", hint=hint, at=Location(flow.file)
        )

"""A flow with something put in another's place for one run: connections, models, pinned outputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from flows.flow import Flow, Node
from workspace.errors import Invalid, NotFound, did_you_mean


def with_connections(flow: Flow, given: Mapping[str, Mapping[str, Any]]) -> Flow:
    """Return the flow with other connections or models: `{"ask": {"connection": "mine", "model": "small"}}`.

    `connection`, `model` and `deployment_name` are those of a node; any other key is one of its inputs.
    """
    return _changed(flow, given, _connected)


def with_pins(flow: Flow, pins: Mapping[str, Any]) -> Flow:
    """Return the flow with outputs that stand in for running their nodes."""
    return _changed(flow, {name: {"pin": value} for name, value in pins.items()}, lambda n, g: replace(n, pin=g["pin"]))


def _changed(flow: Flow, given: Mapping[str, Mapping[str, Any]], change: Any) -> Flow:
    known = {node.name for node in flow.nodes}
    for name in given:
        if name not in known:
            raise NotFound(f"the flow has no node {name!r}", hint=did_you_mean(name, known))
    return replace(
        flow, nodes=tuple(change(node, given[node.name]) if node.name in given else node for node in flow.nodes)
    )


def _connected(node: Node, given: Mapping[str, Any]) -> Node:
    rest = dict(given)
    connection = str(rest.pop("connection", node.connection))
    if node.type != "llm" and "connection" in given and "connection" in node.inputs:
        rest["connection"], connection = given["connection"], node.connection
    for key in rest:
        if key not in node.inputs and key not in ("model", "deployment_name"):
            raise Invalid(f"node {node.name!r} has no input {key!r}", hint=did_you_mean(key, node.inputs))
    return replace(node, connection=connection, inputs={**node.inputs, **rest})

"""Which nodes run: conditions, what is left out, and what stands in its place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import flows
from tests.flows.running import HEAD, PASS, node
from tests.flows.running import names as names
from tests.flows.running import once as once


@pytest.mark.parametrize(
    ("value", "expected", "status"),
    [("2", 7, "Completed"), ("3", None, "Bypassed"), ("'2'", None, "Bypassed")],
    ids=["equal", "another", "no coercion"],
)
def test_a_node_runs_where_its_condition_equals_the_value(
    once: Callable[..., Any], value: str, expected: Any, status: str
) -> None:
    result = once(node("last", f'activate: {{when: "${{inputs.x}}", is: {value}}}'), last="def last(x): return 7")
    assert (result.outputs, result.nodes[0].status) == ({"y": expected}, status)


def test_true_equals_one_as_in_python(once: Callable[..., Any]) -> None:
    nodes = node("last", 'activate: {when: "${inputs.x}", is: true}')
    assert once(nodes, given={"x": 1}, last="def last(x): return 7").outputs == {"y": 7}


def test_a_node_whose_condition_needs_a_bypassed_node_is_bypassed(once: Callable[..., Any]) -> None:
    nodes = node("first", 'activate: {when: "${inputs.x}", is: 0}') + node(
        "last", 'activate: {when: "${first.output}", is: null}'
    )
    result = once(nodes, first=PASS.format("first"), last=PASS.format("last"))
    assert [each.status for each in result.nodes] == ["Bypassed", "Bypassed"]


def test_a_node_whose_condition_holds_runs_even_on_what_bypassed_nodes_left_out(once: Callable[..., Any]) -> None:
    nodes = node("first", 'activate: {when: "${inputs.x}", is: 0}') + node(
        "last", 'activate: {when: "${inputs.x}", is: 2}', 'x: "${first.output}"'
    )
    assert once(nodes, first=PASS.format("first"), last="def last(x='kept'): return x").outputs == {"y": "kept"}


def test_without_a_condition_a_node_is_bypassed_only_if_all_it_uses_was(once: Callable[..., Any]) -> None:
    nodes = (
        node("off", 'activate: {when: "${inputs.x}", is: 0}')
        + node("on")
        + node("last", inputs='a: "${off.output}", b: "${on.output}"')
    )
    tools = {"off": PASS.format("off"), "on": PASS.format("on"), "last": "def last(a, b): return [a, b]"}
    assert once(nodes, **tools).outputs == {"y": [None, 2]}
    alone = node("off", 'activate: {when: "${inputs.x}", is: 0}') + node("last", inputs='a: "${off.output}"')
    result = once(alone, off=PASS.format("off"), last="def last(a): return 1")
    assert (result.outputs, result.nodes[-1].status) == ({"y": None}, "Bypassed")


def test_a_part_of_what_a_bypassed_node_did_not_give_fails_the_line(make_flow: Callable[..., Path]) -> None:
    text = HEAD.replace("${last.output}", "${last.output.part}") + node(
        "last", 'activate: {when: "${inputs.x}", is: 0}'
    )
    result = flows.test(flows.load(make_flow(text, last=PASS.format("last"))), {}, connections={})
    assert result.status == "Failed"


def test_else_is_the_output_of_a_node_that_does_not_run(once: Callable[..., Any]) -> None:
    nodes = node("other") + node("last", 'activate: {when: "${inputs.x}", is: 0, else: "${other.output}"}')
    result = once(nodes, other="def other(x): return x * 10", last=PASS.format("last"))
    assert (result.outputs, result.nodes[-1].status) == ({"y": 20}, "Bypassed")

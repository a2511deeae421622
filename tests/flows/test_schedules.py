"""Any graph, on any schedule, gives what running its nodes one after the other gives."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import flows
from flows.promptflow import names as promptflow_names
from flows.results import LineRecord
from flows.runner import Runner
from flows.steps import Kit

KINDS = 5  # values that a node can give
WORK = """\
import asyncio, time
from promptflow.core import tool


def made(number, x, fails, c, d, rest):
    given = {**rest, "c": c, "d": d}
    total = number * 3 + x + sum(WEIGHTS[name] * (7 if value is None else value) for name, value in given.items())
    if total % KINDS == fails:
        raise ValueError(f"node {number} fails")
    return total % KINDS


WEIGHTS = {"a": 1, "b": 2, "c": 3, "d": 5}
KINDS = 5


@tool
"""
PLAIN = """\
def work(number: int, x: int, fails: int, pause: float, c: int = 9, d: int = 9, **rest):
    time.sleep(pause)
    return made(number, x, fails, c, d, rest)
"""
ASYNC = """\
async def work(number: int, x: int, fails: int, pause: float, c: int = 9, d: int = 9, **rest):
    await asyncio.sleep(pause)
    return made(number, x, fails, c, d, rest)
"""
SKIPPED = "skipped"


@dataclass(frozen=True)
class Node:
    """A node of a made-up graph: `takes` are its inputs by name, from nodes before it."""

    takes: dict[str, int]
    fails: int
    is_async: bool
    when: int | None  # None: always; -1: the flow's input; else a node
    equals: int
    otherwise: str | int | None  # a literal, "n2" for a node, None for nothing

    def written(self, number: int, pause: float) -> str:
        inputs: dict[str, Any] = {"number": number, "x": "${inputs.x}", "fails": self.fails, "pause": pause}
        inputs |= {name: f"${{n{source}.output}}" for name, source in self.takes.items()}
        node: dict[str, Any] = {
            "name": f"n{number}", "type": "python", "inputs": inputs,
            "source": {"type": "code", "path": "slow.py" if self.is_async else "work.py"},
        }  # fmt: skip
        if self.when is not None:
            when = "${inputs.x}" if self.when < 0 else f"${{n{self.when}.output}}"
            node["activate"] = {"when": when, "is": self.equals}
            if self.otherwise is not None:
                other = self.otherwise
                node["activate"]["else"] = f"${{{other}.output}}" if isinstance(other, str) else other
        return f"- {json.dumps(node)}\n"


def in_order(nodes: list[Node], x: int) -> tuple[list[Any], set[int]]:
    """Run the nodes one after the other; return what they give, and those that fail."""
    values: list[Any] = []
    failing, lost = set[int](), set[int]()
    for number, node in enumerate(nodes):
        if not _needs(node).isdisjoint(failing | lost):
            lost.add(number)  # it never runs, and neither does what needs it
            values.append(None)
            continue
        if _is_bypassed(node, values, x):
            other = node.otherwise if node.when is not None else None
            values.append(SKIPPED if other is None else values[int(other[1:])] if isinstance(other, str) else other)
            continue
        given = {"c": 9, "d": 9}
        for name, source in node.takes.items():
            if values[source] is not SKIPPED:
                given[name] = values[source]
            elif name in ("a", "b"):
                given[name] = None  # type: ignore[assignment]
        weights = {"a": 1, "b": 2, "c": 3, "d": 5}
        total = number * 3 + x + sum(weights[name] * (7 if each is None else each) for name, each in given.items())
        values.append(total % KINDS)
        if total % KINDS == node.fails:
            failing.add(number)
    return values, failing


def _needs(node: Node) -> set[int]:
    needs = set(node.takes.values())
    if node.when is not None and node.when >= 0:
        needs.add(node.when)
    if node.when is not None and isinstance(node.otherwise, str):
        needs.add(int(node.otherwise[1:]))
    return needs


def _is_bypassed(node: Node, values: list[Any], x: int) -> bool:
    if node.when is None:
        return bool(node.takes) and all(values[source] is SKIPPED for source in node.takes.values())
    value = x if node.when < 0 else values[node.when]
    return value is SKIPPED or value != node.equals


@st.composite
def graphs(draw: st.DrawFn) -> list[Node]:
    nodes: list[Node] = []
    for number in range(draw(st.integers(1, 9))):
        before = st.integers(0, number - 1) if number else st.nothing()
        takes = draw(st.dictionaries(st.sampled_from("abcd"), before, max_size=3)) if number else {}
        when = draw(st.none() | st.integers(-1, number - 1))
        others = st.none() | st.integers(0, KINDS - 1) | (before.map(lambda each: f"n{each}") if number else st.none())
        fails = draw(st.sampled_from([-1, -1, -1, *range(KINDS)]))
        nodes.append(Node(takes, fails, draw(st.booleans()), when, draw(st.integers(0, 2)), draw(others)))
    return nodes


PAUSES = st.sampled_from([0.0, 0.0, 0.001, 0.004])


@pytest.fixture(autouse=True, scope="module")
def _names() -> None:
    promptflow_names.install()


def run(nodes: list[Node], pauses: list[float], order: list[int], *, concurrency: int, xs: list[int]) -> Any:
    """Run a graph over some lines: nodes written in an order, each with its pause."""
    outputs = "".join(
        f'  n{number}: {{type: int, reference: "${{n{number}.output}}"}}\n' for number in range(len(nodes))
    )
    listed = "".join(nodes[number].written(number, pauses[number]) for number in order)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        (folder / "flow.dag.yaml").write_text(f"inputs:\n  x: {{type: int}}\noutputs:\n{outputs}nodes:\n{listed}")
        (folder / "work.py").write_text(WORK + PLAIN)
        (folder / "slow.py").write_text(WORK + ASYNC)
        runner = Runner(Kit(flow=flows.load(folder), connections={}), concurrency=concurrency)
        try:
            ended: SimpleQueue[LineRecord] = SimpleQueue()
            for number, x in enumerate(xs):
                runner.start(number, {"x": x}, ended.put)
            return sorted((ended.get(timeout=30) for _ in xs), key=lambda line: line.number)
        finally:
            runner.close()


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.data(), graphs(), st.sampled_from([1, 3, 100]), st.lists(st.integers(0, 3), min_size=1, max_size=5))
def test_every_schedule_gives_the_sequential_answer(
    data: st.DataObject, nodes: list[Node], concurrency: int, xs: list[int]
) -> None:
    pauses = data.draw(st.lists(PAUSES, min_size=len(nodes), max_size=len(nodes)))
    order = data.draw(st.permutations(range(len(nodes))))
    for line, x in zip(run(nodes, pauses, order, concurrency=concurrency, xs=xs), xs, strict=True):
        values, failing = in_order(nodes, x)
        if failing:
            # Which of several failures comes first is the schedule's; nothing but they can be the reason.
            said = {f"node 'n{number}': ValueError: node {number} fails" for number in failing}
            assert line.status == "Failed"
            assert any((line.error or "").startswith(each) for each in said), (line.error, said)
            continue
        assert line.status == "Completed", line.error
        assert line.outputs == {f"n{n}": None if value is SKIPPED else value for n, value in enumerate(values)}
        bypassed = {int(node.name[1:]) for node in line.nodes if node.status == "Bypassed"}
        assert bypassed == {number for number, node in enumerate(nodes) if _is_bypassed(node, values, x)}

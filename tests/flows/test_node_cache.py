"""Nodes with `cache: true` run once for the same code, inputs and model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import flows

FLOW = """\
inputs:
  x: {type: int}
outputs:
  y: {type: int, reference: "${slow.output}"}
nodes:
- {name: slow, type: python, source: {type: code, path: slow.py}, cache: true, inputs: {x: "${inputs.x}"}}
"""
CODE = "def slow(x: int) -> int:\n    open({calls!r}, 'a').write('.')\n    return {result}"


@pytest.fixture
def ask(make_flow: Callable[..., Path], tmp_path: Path) -> Callable[..., Any]:
    """Run the flow and return its output and how often the node has run."""
    calls = tmp_path / "calls"
    calls.touch()

    def run(x: int, result: str = "x * 2", kind: str = "def") -> tuple[Any, int]:
        code = CODE.format(calls=str(calls), result=result).replace("def", kind)
        flow = flows.load(make_flow(FLOW, slow=code))
        made = flows.test(flow, {"x": x}, connections={}, conditions=flows.Conditions(home=tmp_path / "home"))
        return made.outputs.get("y"), len(calls.read_text())

    return run


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_the_same_inputs_are_answered_from_what_was_kept(ask: Callable[..., Any], kind: str) -> None:
    assert [ask(4, kind=kind), ask(4, kind=kind), ask(5, kind=kind)] == [(8, 1), (8, 1), (10, 2)]


def test_other_code_is_run(ask: Callable[..., Any]) -> None:
    assert [ask(4), ask(4, "x * 3"), ask(4)] == [(8, 1), (12, 2), (8, 2)]


def test_a_changed_module_beside_the_code_is_another_node(ask: Callable[..., Any], tmp_path: Path) -> None:
    ask(4)
    (tmp_path / "my-flow" / "helper.py").write_text("FACTOR = 2\n")
    assert ask(4) == (8, 2)


def test_what_json_changes_is_not_kept(ask: Callable[..., Any]) -> None:
    result = "__import__('collections').namedtuple('P', 'a')(x).a if x > 9 else (x,)[0]"
    assert [ask(4, result), ask(4, result)] == [(4, 1), (4, 1)]
    assert [ask(4, "[(x, 1)]")[1], ask(4, "[(x, 1)]")[1]] == [2, 3]


def test_a_torn_entry_is_made_again(ask: Callable[..., Any], tmp_path: Path) -> None:
    ask(4)
    for path in (tmp_path / "home" / "flow-cache").rglob("*.json"):
        path.write_text('{"outp')
    assert [ask(4), ask(4)] == [(8, 2), (8, 2)]

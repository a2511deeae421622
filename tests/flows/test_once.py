"""A flow once: node by node, what each saw and gave; random graphs give what running them in order gives."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import flows
from flows.connections import Connection
from workspace.errors import Invalid

ONE = """\
inputs:
  x: {type: int, default: 2}
outputs:
  y: {type: object, reference: "${a.output}"}
nodes:
- name: a
  type: python
  source: {type: code, path: a.py}
  inputs: {x: "${inputs.x}"}
"""


def once(folder: Path, **inputs: Any) -> flows.FlowResult:
    return flows.test(flows.load(folder), inputs, connections={})


def test_nodes_tell_what_they_saw_and_gave(make_flow: Callable[..., Path]) -> None:
    result = once(make_flow(ONE, a="async def a(x: int) -> dict:\n    return {'twice': 2 * x}"), x="4")
    assert result.outputs == {"y": {"twice": 8}}
    assert [(node.name, node.inputs, node.output) for node in result.nodes] == [("a", {"x": 4}, {"twice": 8})]


def test_code_runs_in_the_flow_folder_and_sees_its_own_modules(make_flow: Callable[..., Path]) -> None:
    folder = make_flow(
        ONE, a="def a(x: int) -> str:\n    import words\n    return words.HELLO + open('note.txt').read()"
    )
    (folder / "words.py").write_text("HELLO = 'hello '\n")
    (folder / "note.txt").write_text("world")
    assert once(folder).outputs == {"y": "hello world"}


def test_a_file_of_the_flow_may_be_called_like_a_module_of_ours(make_flow: Callable[..., Path]) -> None:
    folder = make_flow(ONE, a="def a(x: int) -> int:\n    return x")
    (folder / "workspace.py").write_text("raise RuntimeError\n")
    (folder / "logging.py").write_text("raise RuntimeError\n")
    assert once(folder, x=1).outputs == {"y": 1}


def test_an_input_that_is_not_declared_is_refused(make_flow: Callable[..., Path]) -> None:
    with pytest.raises(Invalid) as caught:
        once(make_flow(ONE, a="def a(x: int) -> int:\n    return x"), xx=1)
    assert caught.value.hint == "did you mean 'x'?"


def test_an_output_that_is_no_json_fails_the_line(make_flow: Callable[..., Path]) -> None:
    result = once(make_flow(ONE, a="def a(x: int) -> object:\n    return {1, 2}"))
    assert result.status == "Failed"
    assert "JSON" in (result.error or "")


@pytest.mark.parametrize("code", ["\nimport gone_module", "y = 0\nx = 1/y", "y = 0\ndef a(:\n"])
def test_code_that_cannot_be_loaded_says_why_and_where(make_flow: Callable[..., Path], code: str) -> None:
    folder = make_flow(ONE, a="def a(x: int) -> int:\n    return x")
    (folder / "a.py").write_text(code)
    with pytest.raises(Invalid, match=r"a\.py:2: the flow's code cannot be loaded"):
        once(folder)


def test_a_node_that_ends_its_process_is_an_error_not_a_hang(make_flow: Callable[..., Path]) -> None:
    from workspace.errors import Unavailable

    folder = make_flow(ONE, a="def a(x: int) -> int:\n    import os\n    os._exit(9)")
    with pytest.raises(Unavailable, match="code 9"):
        once(folder)


BRANCH = """\
inputs:
  x: {type: int}
outputs:
  y: {type: string, reference: "${join.output}"}
nodes:
- name: low
  type: python
  source: {type: code, path: say.py}
  inputs: {word: low}
  activate: {when: "${inputs.x}", is: 0}
- name: high
  type: python
  source: {type: code, path: say.py}
  inputs: {word: high}
  activate: {when: "${inputs.x}", is: 1}
- name: after_low
  type: python
  source: {type: code, path: say.py}
  inputs: {word: "${low.output}"}
- name: join
  type: python
  source: {type: code, path: join.py}
  inputs: {a: "${after_low.output}", b: "${high.output}"}
"""


def test_nodes_that_are_not_activated_are_bypassed_and_so_is_what_needs_only_them(
    make_flow: Callable[..., Path],
) -> None:
    folder = make_flow(
        BRANCH,
        say="def say(word: str) -> str:\n    return word",
        join="def join(a: str = 'none', b: str = 'none') -> str:\n    return a + '/' + b",
    )
    result = once(folder, x=1)
    assert result.outputs == {"y": "none/high"}
    assert {node.name for node in result.nodes if node.status == "Bypassed"} == {"low", "after_low"}


def test_a_failure_is_told_once_by_the_node_that_failed(make_flow: Callable[..., Path]) -> None:
    folder = make_flow(
        BRANCH,
        say="def say(word: str) -> str:\n    raise ValueError('no words')",
        join="def join(a: str, b: str) -> str:\n    return a",
    )
    result = once(folder, x=0)
    assert [node.name for node in result.nodes if node.status == "Failed"] == ["low"]
    assert "say.py:6" in (result.error or "")


def test_an_llm_node_with_an_unknown_connection_says_so(make_flow: Callable[..., Path]) -> None:
    folder = make_flow(
        'inputs:\n  q: {type: string, default: hi}\noutputs:\n  a: {type: string, reference: "${ask.output}"}\n'
        "nodes:\n- name: ask\n  type: llm\n  connection: elsewhere\n  source: {type: code, path: ask.jinja2}\n"
        '  inputs: {q: "${inputs.q}", model: m}\n'
    )
    (folder / "ask.jinja2").write_text("user:\n{{ q }}\n")
    connections = {"default": Connection.to_gateway("http://127.0.0.1:9/v1", "none")}
    with pytest.raises(Invalid, match="no connection 'elsewhere'"):
        flows.test(flows.load(folder), {}, connections=connections)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.integers(0, 30), max_size=3), min_size=1, max_size=8), st.integers(-5, 5))
def test_any_graph_gives_what_running_it_in_order_gives(edges: list[list[int]], x: int) -> None:
    needs = [sorted({need % number for need in wanted}) if number else [] for number, wanted in enumerate(edges)]
    expected: list[int] = []
    for number, wanted in enumerate(needs):
        expected.append(number + x + sum(expected[need] for need in wanted))
    nodes = "".join(
        f"- name: n{number}\n  type: python\n  source: {{type: code, path: add.py}}\n  inputs:\n"
        f'    number: {number}\n    x: "${{inputs.x}}"\n'
        + "".join(f'    a{index}: "${{n{need}.output}}"\n' for index, need in enumerate(wanted))
        for number, wanted in reversed(list(enumerate(needs)))
    )
    outputs = "".join(
        f'  n{number}: {{type: int, reference: "${{n{number}.output}}"}}\n' for number in range(len(needs))
    )
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "flow.dag.yaml").write_text(f"inputs:\n  x: {{type: int}}\noutputs:\n{outputs}nodes:\n{nodes}")
        Path(folder, "add.py").write_text(
            "from promptflow.core import tool\n\n\n@tool\n"
            "def add(number: int, x: int, a0: int = 0, a1: int = 0, a2: int = 0) -> int:\n"
            "    return number + x + a0 + a1 + a2\n"
        )
        result = once(Path(folder), x=x)
    assert result.outputs == {f"n{number}": value for number, value in enumerate(expected)}


@pytest.mark.model
def test_the_demo_flow_asks_the_real_model_through_the_gateway(gateway: Any) -> None:
    flow = flows.load(Path(__file__).parents[2] / "studiolo" / "demo_flow", variant="ask.shown")
    connections = {"default": Connection.to_gateway(gateway.base_url, gateway.token)}
    result = flows.test(flow, {"question": "What is the capital of France?"}, connections=connections)
    assert result.outputs == {"answer": "Paris"}
    ask = next(node for node in result.nodes if node.name == "ask")
    assert ask.model == "model:smollm2-135m-instruct:1"
    assert ask.tokens[0] > 20
    assert ask.tokens[1] >= 1

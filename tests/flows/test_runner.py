"""Lines through the graph: what runs, what is tried again, and that nothing stops the others."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any

import pytest

import flows
from flows import overrides
from flows.results import LineRecord
from tests.flows.running import HEAD, PASS, all_lines, node, running
from tests.flows.running import names as names
from tests.flows.running import once as once
from workspace.errors import Invalid

# Arguments


def test_literals_take_the_types_of_the_parameters(make_flow: Callable[..., Path]) -> None:
    code = (
        "import enum\nfrom typing import Optional\nfrom promptflow.core import tool\n"
        "class Colour(enum.Enum):\n    RED = 'red'\n"
        "@tool\n"
        "def last(i: int, f: float, b: bool, s: str, l: list, d: dict, u, o: Optional[int], c: Colour):\n"
        "    return [i, f, b, s, l, d, u, o, c]\n"
    )
    inputs = """i: "3", f: "0.5", b: "true", s: 7, l: "[1]", d: '{"a": 1}', u: "123", o: "null", c: red"""
    folder = make_flow(HEAD + node("last", inputs=inputs), last="")
    (folder / "last.py").write_text(code)
    result = flows.test(flows.load(folder), {}, connections={})
    assert result.outputs == {"y": [3, 0.5, True, "7", [1], {"a": 1}, 123, None, "red"]}


def test_empty_literals_leave_the_default_of_the_function(once: Callable[..., Any]) -> None:
    result = once(node("last", inputs='a: "", b: null'), last="def last(a='left', b=5): return [a, b]")
    assert result.outputs == {"y": ["left", 5]}


def test_names_that_a_function_does_not_know_reach_only_its_keyword_arguments(once: Callable[..., Any]) -> None:
    inputs = 'x: "${inputs.x}", extra: 1'
    assert once(node("last", inputs=inputs), last="def last(x): return x").outputs == {"y": 2}
    assert once(node("last", inputs=inputs), last="def last(**rest): return rest").outputs == {
        "y": {"x": 2, "extra": 1}
    }


def test_a_method_is_a_tool_and_literals_make_its_object(make_flow: Callable[..., Path]) -> None:
    code = (
        "from promptflow.core import ToolProvider, tool\n"
        "class Adder(ToolProvider):\n"
        "    def __init__(self, by: int):\n        super().__init__()\n        self.by = by\n"
        "    @tool\n    def add(self, x: int): return x + self.by\n"
    )
    folder = make_flow(HEAD + node("last", inputs='x: "${inputs.x}", by: "40"'))
    (folder / "last.py").write_text(code)
    assert flows.test(flows.load(folder), {}, connections={}).outputs == {"y": 42}
    nodes = node("first") + node("last", inputs='x: 1, by: "${first.output}"')
    with pytest.raises(Invalid, match="give a literal"):
        flows.test(flows.load(make_flow(HEAD + nodes, first=PASS.format("first"))), {}, connections={})


# Nodes that fail, wait and are tried again


def test_a_failing_node_fails_the_line_with_its_place(once: Callable[..., Any]) -> None:
    result = once(node("last"), last="def last(x):\n    raise KeyError('lost')")
    assert result.status == "Failed"
    assert "KeyError: 'lost' (last.py:" in (result.error or "")


def test_leaving_the_process_fails_only_the_line(make_flow: Callable[..., Path]) -> None:
    folder = make_flow(HEAD + node("last"), last="def last(x):\n    raise SystemExit(3)")
    with running(folder) as runner:
        assert [line.status for line in all_lines(runner, [{"x": 1}, {"x": 0}])] == ["Failed", "Failed"]


def test_a_node_is_tried_again_as_often_as_it_says(once: Callable[..., Any]) -> None:
    code = (
        "def last(x, calls=[]):\n    calls.append(1)\n    if len(calls) < 3:\n        raise OSError('not yet')\n"
        "    return len(calls)"
    )
    result = once(node("last", "retry: {max: 3, delay: 0.01, on: OSError}"), last=code)
    assert result.outputs == {"y": 3}
    assert [span.kind for span in result.nodes[0].spans] == ["try", "try"]
    assert once(node("last", "retry: {max: 1, delay: 0.01}"), last=code).status == "Failed"
    assert once(node("last", "retry: {max: 5, delay: 0.01, on: [KeyError]}"), last=code).status == "Failed"


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_a_node_that_takes_too_long_fails_its_line_in_time(once: Callable[..., Any], kind: str) -> None:
    wait = "await __import__('asyncio').sleep(30)" if "async" in kind else "__import__('time').sleep(30)"
    started = time.monotonic()
    result = once(node("last", "timeout: 0.2"), last=f"{kind} last(x):\n    {wait}")
    assert "longer than 0.2 seconds" in (result.error or "")
    assert time.monotonic() - started < 10


def test_a_line_that_takes_too_long_fails_and_the_others_go_on(make_flow: Callable[..., Path]) -> None:
    folder = make_flow(HEAD + node("last"), last="def last(x):\n    import time\n    time.sleep(x)\n    return x")
    with running(folder, line_timeout=0.5) as runner:
        lines = all_lines(runner, [{"x": 30}, *({"x": 0} for _ in range(50))])
    assert lines[0].error == "Line 0 execution timeout for exceeding 0.5 seconds"
    assert all(line.status == "Completed" for line in lines[1:])


# Running at the same time


def test_a_quick_node_that_once_takes_long_does_not_stop_the_others(make_flow: Callable[..., Path]) -> None:
    folder = make_flow(HEAD + node("last"), last="def last(x):\n    import time\n    time.sleep(x)\n    return x")
    with running(folder) as runner:
        all_lines(runner, [{"x": 0}] * 200)  # it is known as quick now
        started = time.monotonic()
        ended: SimpleQueue[LineRecord] = SimpleQueue()
        for number, pause in enumerate([1.0, *[0.0] * 50]):
            runner.start(number, {"x": pause}, ended.put)
        quick = [ended.get(timeout=10) for _ in range(50)]
        assert time.monotonic() - started < 0.8
        assert {line.number for line in quick} == set(range(1, 51))
        assert ended.get(timeout=10).number == 0


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_branches_of_a_line_run_beside_each_other(once: Callable[..., Any], kind: str) -> None:
    wait = "await __import__('asyncio').sleep(0.3)" if "async" in kind else "__import__('time').sleep(0.3)"
    names = [f"n{number}" for number in range(8)]
    inputs = ", ".join(f'{name}: "${{{name}.output}}"' for name in names)
    tools = {name: f"{kind} {name}(x):\n    {wait}\n    return x" for name in names}
    nodes = "".join(node(name) for name in names) + node("last", inputs=inputs)
    result = once(nodes, last="def last(**all): return len(all)", **tools)
    starts = [each.started_at for each in result.nodes if each.name != "last"]
    assert result.error is None
    assert result.outputs == {"y": 8}
    assert max(starts) - min(starts) < 0.3


def test_no_more_lines_run_than_are_allowed(make_flow: Callable[..., Path]) -> None:
    code = (
        "def last(x, seen=[0, 0]):\n    import time\n    seen[0] += 1\n    seen[1] = max(seen)\n"
        "    time.sleep(0.05)\n    seen[0] -= 1\n    return seen[1]"
    )
    with running(make_flow(HEAD + node("last"), last=code), concurrency=4) as runner:
        assert max(line.outputs["y"] for line in all_lines(runner, [{"x": 1}] * 24) if line.outputs) <= 4


def test_plain_functions_may_run_a_loop_of_their_own(once: Callable[..., Any]) -> None:
    code = "def last(x):\n    import asyncio\n    return asyncio.run(asyncio.sleep(0, 'done'))"
    nodes = node("first") + node("last", inputs='x: "${first.output}"')
    assert once(nodes, first="async def first(x): return x", last=code).outputs == {"y": "done"}


def test_a_call_that_turns_out_slow_keeps_nothing_of_its_line_from_running(make_flow: Callable[..., Path]) -> None:
    code = "def {name}(x):\n    import time\n    time.sleep(0.2 if x == 9 else 0)\n    return x"
    yaml = HEAD + node("first") + node("last")
    yaml = yaml.replace("outputs:\n", 'outputs:\n  z: {type: int, reference: "${first.output}"}\n')
    with running(make_flow(yaml, first=code.format(name="first"), last=code.format(name="last"))) as runner:
        all_lines(runner, [{"x": 1}] * 20)  # from now on they are taken for quick
        assert [line.outputs for line in all_lines(runner, [{"x": 9}] * 3)] == [{"y": 9, "z": 9}] * 3


def test_a_line_is_not_late_before_it_has_begun(
    make_flow: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow() -> float:
        if threading.current_thread().name == "lead":
            time.sleep(0.05)  # as on a machine that is busy
        return monotonic()

    monotonic = time.monotonic
    monkeypatch.setattr("flows.runner.time", SimpleNamespace(monotonic=slow, time=time.time))
    with running(make_flow(HEAD + node("last"), last="async def last(x): return x"), line_timeout=30) as runner:
        assert {line.status for line in all_lines(runner, [{"x": 1}] * 30)} == {"Completed"}


def test_quick_lines_need_no_thread_each(make_flow: Callable[..., Path]) -> None:
    code = "def last(x):\n    import threading\n    return threading.current_thread().name"
    with running(make_flow(HEAD + node("last"), last=code)) as runner:
        lines = all_lines(runner, [{"x": 1}] * 500)
    names = [line.outputs["y"] for line in lines if line.outputs]
    # Where the machine is busy a call may look slow, and the next few are kept off the lead.
    assert names.count("lead") > 250
    assert threading.active_count() < 50


# Lists, flows within flows, pins


def test_a_node_with_map_runs_once_per_item_in_order(once: Callable[..., Any]) -> None:
    nodes = node("items") + node("last", 'map: {over: "${items.output}", as: one}', 'x: "${one.n}", by: "${inputs.x}"')
    result = once(
        nodes,
        items="def items(x): return [{'n': n} for n in range(20)]",
        last="def last(x, by):\n    import time\n    time.sleep(0.02 if x % 2 else 0)\n    return x * by",
    )
    assert result.outputs == {"y": [2 * number for number in range(20)]}


def test_a_map_over_nothing_is_an_empty_list_and_over_no_list_an_error(once: Callable[..., Any]) -> None:
    nodes = node("items") + node("last", 'map: "${items.output}"', 'x: "${item}"')
    assert once(nodes, items="def items(x): return []", last=PASS.format("last")).outputs == {"y": []}
    assert "needs a list" in (once(nodes, items="def items(x): return 5", last=PASS.format("last")).error or "")


def test_an_item_that_fails_fails_the_line(once: Callable[..., Any]) -> None:
    nodes = node("last", "map: {over: [1, 0, 3]}", 'x: "${item}"')
    assert "ZeroDivisionError" in (once(nodes, last="def last(x): return 1 / x").error or "")


def test_a_flow_is_a_node_of_another(make_flow: Callable[..., Path], tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "flow.dag.yaml").write_text(
        "inputs: {n: {type: int}, by: {type: int, default: 10}}\n"
        'outputs: {m: {type: int, reference: "${times.output}"}}\n'
        "nodes:\n- {name: times, type: python, source: {type: code, path: times.py}, "
        'inputs: {n: "${inputs.n}", by: "${inputs.by}"}}\n'
    )
    (inner / "helper.py").write_text("def product(a, b): return a * b\n")
    (inner / "times.py").write_text(
        "from promptflow.core import tool\nfrom helper import product\n@tool\ndef times(n, by): return product(n, by)\n"
    )
    text = HEAD.replace("${last.output}", "${last.output.m}") + (
        '- {name: last, type: flow, source: {path: ../inner}, inputs: {n: "${inputs.x}"}}\n'
    )
    result = flows.test(flows.load(make_flow(text)), {"x": 4}, connections={})
    assert result.outputs == {"y": 40}
    assert [span.name for span in result.nodes[0].spans] == ["times"]


def test_a_pinned_node_does_not_run(make_flow: Callable[..., Path]) -> None:
    nodes = node("first") + node("last", inputs='x: "${first.output.a}"')
    flow = flows.load(make_flow(HEAD + nodes, first="def first(x): raise RuntimeError", last=PASS.format("last")))
    assert flows.test(overrides.with_pins(flow, {"first": {"a": 5}}), {}, connections={}).outputs == {"y": 5}
    written = make_flow(HEAD + node("last", "pin: [1, 2]"), last="def last(x): raise RuntimeError")
    assert flows.test(flows.load(written), {}, connections={}).outputs == {"y": [1, 2]}


def test_one_node_runs_alone_on_values_given_by_any_of_its_names(make_flow: Callable[..., Path]) -> None:
    nodes = node("first") + node("last", inputs='a: "${first.output.n}", b: "${inputs.x}"')
    flow = flows.load(make_flow(HEAD + nodes, first=PASS.format("first"), last="def last(a, b): return [a, b]"))
    given = {"first.output": {"n": 1}, "inputs.x": 9}
    assert flows.test_node(flow, "last", given, connections={}).outputs == {"output": [1, 9]}
    assert flows.test_node(flow, "last", {"a": 3}, connections={}).outputs == {"output": [3, 2]}


# Outputs


def test_a_generator_reaches_every_reader_whole(make_flow: Callable[..., Path]) -> None:
    text = HEAD.replace('"${last.output}"}', '"${last.output}"}\n  words: {type: string, reference: "${words.output}"}')
    nodes = node("words") + node("last", inputs='x: "${words.output}"')
    tools = {"words": "def words(x):\n    yield 'a'\n    yield 'b'", "last": "def last(x): return list(x)"}
    result = flows.test(flows.load(make_flow(text + nodes, **tools)), {}, connections={})
    assert result.outputs == {"y": ["a", "b"], "words": "ab"}
    async_tools = tools | {"words": "async def words(x):\n    yield 'a'\n    yield 'b'"}
    assert flows.test(flows.load(make_flow(text + nodes, **async_tools)), {}, connections={}).outputs == result.outputs


def test_pieces_leave_the_flow_as_they_come_where_that_is_asked_for(make_flow: Callable[..., Path]) -> None:
    code = "def last(x):\n    import time\n    for n in range(3):\n        yield str(n)\n        time.sleep(0.3)"
    for tool in (code, code.replace("def", "async def").replace("time.sleep", "await __import__('asyncio').sleep")):
        with running(make_flow(HEAD + node("last"), last=tool)) as runner:
            ended: SimpleQueue[LineRecord] = SimpleQueue()
            runner.start(0, {"x": 1}, ended.put, stream=True)
            started = time.monotonic()
            pieces = iter((ended.get(timeout=10).outputs or {})["y"])
            assert next(pieces) == "0"
            assert time.monotonic() - started < 0.25
            assert list(pieces) == ["1", "2"]


@pytest.mark.parametrize("value", ["{1, 2}", "object()", "__import__('datetime').datetime.now()"])
def test_an_output_that_json_cannot_say_fails_the_line_but_may_go_between_nodes(
    once: Callable[..., Any], value: str
) -> None:
    assert "cannot be written as JSON" in (once(node("last"), last=f"def last(x): return {value}").error or "")
    nodes = node("first") + node("last", inputs='x: "${first.output}"')
    assert once(nodes, first=f"def first(x): return {value}", last="def last(x): return 1").outputs == {"y": 1}


def test_what_a_node_saw_and_gave_is_kept_as_it_was(once: Callable[..., Any]) -> None:
    nodes = node("first") + node("last", inputs='x: "${first.output}"')
    result = once(nodes, first="def first(x): return [1]", last="def last(x):\n    x.append(2)\n    return x")
    assert [(each.inputs, each.output) for each in result.nodes] == [({"x": 2}, [1]), ({"x": [1]}, [1, 2])]


def test_dataclasses_numbers_without_value_and_odd_keys_are_written_as_json_says_them(once: Callable[..., Any]) -> None:
    code = (
        "def last(x):\n    import dataclasses, math\n    Point = dataclasses.make_dataclass('Point', ['a'])\n"
        "    return [Point(1), math.nan, {1: 'one'}, (1, 2)]"
    )
    point, number, keys, pair = once(node("last"), last=code).outputs["y"]
    assert (point, keys, pair) == ({"a": 1}, {"1": "one"}, [1, 2])
    assert number != number

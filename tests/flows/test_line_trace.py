"""Servers that a flow asks are told where in its trace that is, and the trace that is told later has that place."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

import flows
from flows import line_trace, otel
from flows.connections import Connection
from flows.results import LineRecord
from flows.serve.log import served

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from tests.flows.conftest import ModelServer, Server
    from workspace.home import Workspace

FLOW = """\
inputs: {q: {type: string}}
outputs: {a: {type: string, reference: "${ask.output}"}}
nodes:
- {name: ask, type: llm, connection: mine, source: {type: code, path: ask.jinja2}, inputs: {model: m, q: "${inputs.q}"}}
- {name: code, type: python, source: {type: code, path: code.py}, inputs: {q: "${ask.output}", mine: mine}}
- {name: within, type: flow, source: {path: ./inner}, inputs: {q: "${code.output}"}}
"""
INNER = """\
inputs: {q: {type: string}}
outputs: {a: {type: string, reference: "${inmost.output}"}}
nodes:
- {name: inmost, type: llm, connection: mine, source: {type: code, path: ask.jinja2}, inputs: {model: m, q: "${inputs.q}"}}
"""  # noqa: E501
CODE = """\
from promptflow.connections import OpenAIConnection
from promptflow.core import tool
from promptflow.tools import openai


@tool
def code(q: str, mine: OpenAIConnection) -> str:
    return openai.chat(mine, prompt="user:\\n{{q}}", model="m", q=q)
"""
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CALLER = f"00-{TRACE}-{SPAN}-01"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A flow that asks a model by a node, by code and by a flow that is a node."""
    place = tmp_path / "asks"
    (place / "inner").mkdir(parents=True)
    for name, text in {
        "flow.dag.yaml": FLOW, "inner/flow.dag.yaml": INNER, "code.py": CODE,
        "ask.jinja2": "user:\n{{ q }}\n", "inner/ask.jinja2": "user:\n{{ q }}\n",
    }.items():  # fmt: skip
        (place / name).write_text(text)
    return place


@pytest.fixture
def mine(modelling: ModelServer) -> dict[str, Connection]:
    configs = {"base_url": f"{modelling.url}/v1"}
    return {"mine": Connection(name="mine", type="open_ai", configs=configs, secrets={"api_key": "k"})}


def told(server: ModelServer) -> list[tuple[str, str, str]]:
    """What the server heard with each request: trace, span, flags."""
    found = [each["headers"]["traceparent"].split("-") for each in server.asked]
    return [(trace, span, flags) for _, trace, span, flags in found]


def calls_of(line: LineRecord, **origin: Any) -> list[tuple[str, str]]:
    """The trace and the span of each call of a model, as OpenTelemetry is told; all hang together."""
    about = otel.Origin(id="1", flow="asks", digest="", kind="test", started_at=1.0, duration=1.0, **origin)
    spans = list(otel.spans(about, line))
    known = {span.span_id for span in spans}
    assert all(span.parent_span_id in known for span in spans[1:])
    assert len(known) == len(spans)
    return [(span.trace_id.hex(), span.span_id.hex()) for span in spans if span.name.startswith("chat ")]


def test_a_flow_that_is_tried_tells_each_server_its_call(
    folder: Path, mine: dict[str, Connection], modelling: ModelServer
) -> None:
    done = flows.test(flows.load(folder), {"q": "Hi"}, connections=mine, conditions=flows.Conditions(traces=True))
    assert (done.error, len(modelling.asked)) == (None, 3)
    line = LineRecord(
        number=0, status=done.status, inputs={}, outputs={}, error=None, nodes=done.nodes, duration=1.0,
        trace=done.trace,
    )  # fmt: skip
    assert [(trace, span) for trace, span, _ in told(modelling)] == calls_of(line)
    assert {(trace, flags) for trace, _, flags in told(modelling)} == {(done.trace, "01")}
    assert not any("tracestate" in each["headers"] for each in modelling.asked)


def test_what_the_models_within_a_flow_used_counts_once(folder: Path, mine: dict[str, Connection]) -> None:
    done = flows.test(flows.load(folder), {"q": "Hi"}, connections=mine)
    (within,) = [node for node in done.nodes if node.name == "within"]
    assert (within.tokens, within.model) == ((7, 2), "m-1")
    (inmost,) = within.spans
    assert [(span.kind, span.tokens) for span in inmost.spans] == [("llm", (7, 2))]


def test_a_run_over_rows_has_a_trace_for_each_line_and_says_that_nobody_is_told_of_it(
    folder: Path, mine: dict[str, Connection], modelling: ModelServer, workspace: Workspace, tmp_path: Path
) -> None:
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps({"q": f"{number}"}) + "\n" for number in range(3)))
    for name, traces in (("untold", False), ("told", True)):
        modelling.asked.clear()
        conditions = flows.Conditions(traces=traces)
        batch = flows.Batch(data=data, connections=mine, name=name, conditions=conditions)
        for _ in flows.run(workspace, flows.load(folder), batch):
            pass
        states = {each["headers"].get("tracestate") for each in modelling.asked}
        assert states == ({None} if traces else {line_trace.UNTOLD})
        lines = list(flows.lines(workspace.runs.get(name)))
        assert len({line.trace for line in lines}) == 3
        expected = [call for line in lines for call in calls_of(line)]
        assert sorted((trace, span) for trace, span, _ in told(modelling)) == sorted(expected)


@pytest.mark.parametrize("flags", ["00", "01", "03"])
def test_a_served_flow_goes_on_with_its_callers_trace(
    folder: Path,
    mine: dict[str, Connection],
    modelling: ModelServer,
    tmp_path: Path,
    serving: Callable[..., AbstractContextManager[Server]],
    flags: str,
) -> None:
    headers = {"traceparent": f"00-{TRACE}-{SPAN}-{flags}", "tracestate": "vendor=7"}
    with serving(folder, tmp_path / "home", mine) as server:
        assert server.score({"q": "Hi"}, **headers).json() == {"a": "Hello"}
        (kept,) = server.kept()
    assert kept.line
    assert [(trace, span) for trace, span, _ in told(modelling)] == calls_of(kept.line, traceparent=kept.traceparent)
    assert {(trace, said) for trace, _, said in told(modelling)} == {(TRACE, "00" if flags == "00" else "01")}
    assert {each["headers"]["tracestate"] for each in modelling.asked} == {"vendor=7"}


def test_a_served_flow_without_a_caller_has_a_trace_of_its_own(
    folder: Path,
    mine: dict[str, Connection],
    modelling: ModelServer,
    tmp_path: Path,
    serving: Callable[..., AbstractContextManager[Server]],
) -> None:
    with serving(folder, tmp_path / "home", mine) as server:
        server.score({"q": "Hi"})
        (kept,) = server.kept()
    assert kept.line
    assert [(trace, span) for trace, span, _ in told(modelling)] == calls_of(kept.line)
    assert len({trace for trace, _, _ in told(modelling)} | {kept.line.trace}) == 1


def test_where_nothing_is_kept_requests_hang_under_the_callers_span(
    folder: Path,
    mine: dict[str, Connection],
    modelling: ModelServer,
    serving: Callable[..., AbstractContextManager[Server]],
) -> None:
    with serving(folder, None, mine) as server:
        httpx.post(f"{server.url}/score", json={"q": "Hi"}, headers={"traceparent": CALLER}, timeout=20)
        assert told(modelling) == [(TRACE, SPAN, "01")] * 3
        modelling.asked.clear()
        httpx.post(f"{server.url}/score", json={"q": "Hi"}, timeout=20)
    assert not any("traceparent" in each["headers"] for each in modelling.asked)


def test_a_streamed_answer_is_told_at_its_place(
    folder: Path,
    mine: dict[str, Connection],
    modelling: ModelServer,
    tmp_path: Path,
    serving: Callable[..., AbstractContextManager[Server]],
) -> None:
    text = FLOW.replace('"${ask.output}"', '"${last.output}"', 1) + FLOW.splitlines()[3].replace(
        "name: ask", "name: last"
    )
    (folder / "flow.dag.yaml").write_text(text + "\n")
    with serving(folder, tmp_path / "home", mine) as server:
        assert 'data: {"a":"Hel"}' in server.score({"q": "Hi"}, accept="text/event-stream", traceparent=CALLER).text
        (kept,) = server.kept()
    assert kept.line
    assert sorted((trace, span) for trace, span, _ in told(modelling)) == sorted(
        calls_of(kept.line, traceparent=CALLER)
    )
    assert list(served(tmp_path / "home"))


@pytest.mark.parametrize("given", ["", "00-0-0-01", f"00-{TRACE}-{SPAN}", f"00-{TRACE.upper()}-{SPAN}-01", "x" * 9999])
def test_a_context_that_makes_no_sense_is_no_context(given: str) -> None:
    assert line_trace.of_request({b"traceparent": given.encode()}, kept=False) is None
    made = line_trace.of_request({b"traceparent": given.encode(), b"tracestate": b"a=1"}, kept=True)
    assert made
    assert made.headers(SPAN).keys() == {"traceparent"}

"""Lines as OpenTelemetry spans: one tree, the gen_ai conventions, stable ids; prices; and MLflow and collectors."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

import flows
from flows import otel
from flows.connections import Connection
from flows.masking import Mask
from flows.otel import Origin
from flows.prices import Price, Prices
from flows.results import LineRecord, NodeRecord, SpanRecord
from flows.serve import log as serve_log
from studiolo import flow_batches, traces
from workspace import Workspace
from workspace.errors import Invalid, NotFound, Unavailable

if TYPE_CHECKING:
    from tests.flows.conftest import ModelServer, Server

FLOW = """\
inputs: {question: {type: string}}
outputs: {said: {type: string, reference: "${tidy.output}"}}
nodes:
- name: ask
  type: llm
  api: chat
  connection: theirs
  source: {type: code, path: ask.jinja2}
  inputs: {model: small-1, temperature: 0.5, question: "${inputs.question}"}
- name: tidy
  type: python
  source: {type: code, path: tidy.py}
  inputs: {text: "${ask.output}"}
"""
TIDY = """\
from promptflow.core import tool
from promptflow.tracing import trace


@trace
def shorter(text: str) -> str:
    if text == "Hello!":
        raise ValueError("too loud")
    return text[:3]


@tool
def tidy(text: str) -> str:
    return shorter(text)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "asking"
    made.mkdir()
    (made / "flow.dag.yaml").write_text(FLOW)
    (made / "ask.jinja2").write_text("system:\nBe brief.\n\nuser:\n{{question}}\n")
    (made / "tidy.py").write_text(TIDY)
    return made


def theirs(server: ModelServer) -> dict[str, Connection]:
    configs = {"base_url": f"{server.url}/v1"}
    return {"theirs": Connection(name="theirs", type="open_ai", configs=configs, secrets={"api_key": "sk-canary-1"})}


def run(workspace: Workspace, folder: Path, server: ModelServer, name: str = "told", lines: int = 3) -> Any:
    data = folder.parent / "rows.jsonl"
    data.write_text("".join(json.dumps({"question": f"q{number}"}) + "\n" for number in range(lines)))
    batch = flows.Batch(data=data, connections=theirs(server), name=name)
    for _ in flows.run(workspace, flows.load(folder), batch):
        pass
    return workspace.runs.get(name)


def attributes(span: Span) -> dict[str, Any]:
    found = {}
    for each in span.attributes:
        kind = each.value.WhichOneof("value")
        found[each.key] = getattr(each.value, kind) if kind else None
    return found


def test_a_line_is_one_tree_with_the_conventions_of_models(
    workspace: Workspace, folder: Path, modelling: ModelServer
) -> None:
    record = run(workspace, folder, modelling)
    origin, line = next(traces.of_run(record))
    found = list(otel.spans(origin, line))
    assert [each.name for each in found] == ["invoke_workflow asking", "ask", "chat small-1", "tidy", "shorter"]
    root, ask, chat, tidy, shorter = found
    assert len({each.trace_id for each in found}) == 1
    assert (ask.parent_span_id, chat.parent_span_id) == (root.span_id, ask.span_id)
    assert (tidy.parent_span_id, shorter.parent_span_id) == (root.span_id, tidy.span_id)
    assert all(each.start_time_unix_nano <= each.end_time_unix_nano for each in found)
    said = attributes(chat)
    assert chat.kind == Span.SPAN_KIND_CLIENT
    assert {key: said[key] for key in said if key.startswith("gen_ai.") and "messages" not in key} == {
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "small-1",
        "gen_ai.request.temperature": 0.5, "gen_ai.request.top_p": 1.0,
        "gen_ai.response.model": "m-1", "gen_ai.response.id": "a1",
        "gen_ai.response.finish_reasons": said["gen_ai.response.finish_reasons"],
        "gen_ai.usage.input_tokens": 7, "gen_ai.usage.output_tokens": 2,
    }  # fmt: skip
    assert json.loads(said["gen_ai.input.messages"])[1] == {
        "role": "user", "parts": [{"type": "text", "content": "q0"}],
    }  # fmt: skip
    assert json.loads(said["gen_ai.output.messages"])[0]["parts"] == [{"type": "text", "content": "Hello"}]
    told = attributes(root)
    assert told["studiolo.flow.digest"] == flows.load(folder).digest
    assert (told["studiolo.run_id"], told["studiolo.line"]) == (record.run_id, 0)
    assert json.loads(told["output.value"]) == {"said": "Hel"}


def test_the_same_line_told_twice_has_the_same_ids_and_others_have_others(
    workspace: Workspace, folder: Path, modelling: ModelServer
) -> None:
    record = run(workspace, folder, modelling)
    ids = [[(each.trace_id, each.span_id) for each in otel.spans(*told)] for told in traces.of_run(record)]
    again = [[(each.trace_id, each.span_id) for each in otel.spans(*told)] for told in traces.of_run(record)]
    assert ids == again
    assert len({each for spans in ids for each in spans}) == 15


def test_what_failed_is_an_error_where_it_failed(workspace: Workspace, folder: Path, modelling: ModelServer) -> None:
    loud = modelling.answer("/chat/", {})
    loud["choices"][0]["message"]["content"] = "Hello!"
    modelling.replies = [(200, {}, loud)]
    record = run(workspace, folder, modelling, lines=1)
    spans = {each.name: each for each in otel.spans(*next(traces.of_run(record)))}
    assert spans["chat small-1"].status.code == Status.STATUS_CODE_OK
    for name in ("shorter", "tidy", "invoke_workflow asking"):
        assert spans[name].status.code == Status.STATUS_CODE_ERROR
        assert "too loud" in spans[name].status.message
    assert attributes(spans["shorter"])["error.type"] == "ValueError"


def test_a_callers_trace_context_is_gone_on_with() -> None:
    trace, parent = "a" * 32, "b" * 16
    origin = Origin(
        id="x", flow="f", digest="", kind="request", started_at=1.0, duration=0.5, traceparent=f"00-{trace}-{parent}-01"
    )
    line = LineRecord(number=0, status="Completed", inputs={}, outputs={}, error=None, nodes=(), duration=0.5)
    (root,) = otel.spans(origin, line)
    assert (root.trace_id.hex(), root.parent_span_id.hex()) == (trace, parent)
    assert root.kind == Span.SPAN_KIND_SERVER


_ODD = "half \ud83d of a pair, and \0"


def _odd_line() -> LineRecord:
    span = SpanRecord(
        kind="llm", name=_ODD, inputs={"messages": [_ODD, {"content": [_ODD, 3]}, 7]}, output=[None, {"message": _ODD}],
        error=_ODD, started_at=2.0, ended_at=1.0, tokens=(3, 4), model=_ODD,
        attributes={_ODD: [1, None, {_ODD: 2**70}]},
    )  # fmt: skip
    node = NodeRecord(
        name=_ODD, type="llm", status="Failed", inputs={_ODD: math.nan}, error=_ODD, started_at=1.0, model=_ODD,
        spans=(span,),
    )  # fmt: skip
    return LineRecord(
        number=0, status="Failed", inputs={_ODD: _ODD}, outputs=None, error=_ODD, nodes=(node,), duration=0.25
    )


def test_texts_that_no_protocol_takes_stop_nothing(workspace: Workspace) -> None:
    for _ in range(2):
        serve_log.keep_test(
            workspace.home, flow="odd", digest="d", line=_odd_line(), started_at=1_700_000_000.0, mask=Mask([])
        )
    assert traces.carry(workspace) == 2
    told = [told for each in serve_log.served(workspace.home) if (told := traces.of_request(each))]
    sent = ExportTraceServiceRequest.FromString(otel.request(told).SerializeToString())
    spans = sent.resource_spans[0].scope_spans[0].spans
    assert [each.status.message for each in spans] == ["half ? of a pair, and \ufffd"] * 6
    assert workspace.sql("SELECT error FROM spans").rows == [("half ��� of a pair, and \0",)] * 2


# Prices


def test_tokens_cost_what_the_workspace_says(workspace: Workspace, folder: Path, modelling: ModelServer) -> None:
    (workspace.home / "prices.yaml").write_text('m-*: {input: 1000000, output: 2000000}\n"*": {input: 5, output: 5}\n')
    batch = flows.Batch(
        data=_one_row(folder), connections=theirs(modelling), name="paid",
        conditions=flows.Conditions(home=workspace.home),
    )  # fmt: skip
    for _ in flows.run(workspace, flows.load(folder), batch):
        pass
    record = workspace.runs.get("paid")
    assert record.metrics["cost"] == 7 * 1 + 2 * 2
    assert next(flows.lines(record)).nodes[0].cost == 11
    answer = workspace.sql("SELECT cost, prompt_tokens FROM spans WHERE kind = 'llm'")
    assert answer.rows == [(11.0, 7)]


@pytest.mark.parametrize("text", ["- a\n", "m: 3\n", "m: {input: x}\n", "m: {in: 3}\n", "m: {input: -1}\n"])
def test_a_price_list_that_makes_no_sense_is_refused_with_its_line(tmp_path: Path, text: str) -> None:
    file = tmp_path / "prices.yaml"
    file.write_text(text)
    with pytest.raises(Invalid) as caught:
        Prices.read(file)
    assert f"{file}:1" in str(caught.value)


def test_the_longest_name_that_fits_counts() -> None:
    prices = Prices({"*": Price(1, 1), "gpt-4o*": Price(3, 3), "gpt-4o-mini*": Price(2, 2)})
    assert prices.of("gpt-4o-mini-2024", 1_000_000, 0) == 2
    assert prices.of("gpt-4o-2024", 1_000_000, 0) == 3
    assert prices.of("other", 1_000_000, 0) == 1
    assert prices.of("other", 0, 0) is None
    assert Prices({}).of("gpt-4o", 5, 5) is None


# Sent on


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, dict[str, str], bytes]]]:
    """An OpenTelemetry collector: what it was sent, as path, headers, body."""
    got: list[tuple[str, dict[str, str], bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.append((self.path, {key.lower(): value for key, value in self.headers.items()}, body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{made.server_port}/")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-key=abc,x-other=d")
    yield got
    made.shutdown()
    made.server_close()


def test_a_collector_gets_every_line_as_otlp(
    workspace: Workspace, folder: Path, modelling: ModelServer, collector: list[tuple[str, dict[str, str], bytes]]
) -> None:
    record = run(workspace, folder, modelling, lines=3)
    assert flow_batches.send_trace(workspace, record.run_id, to="otlp") == 3
    ((path, headers, body),) = collector
    assert path == "/v1/traces"
    assert (headers["x-key"], headers["content-type"]) == ("abc", "application/x-protobuf")
    found = ExportTraceServiceRequest.FromString(body)
    assert len(found.resource_spans[0].scope_spans[0].spans) == 15
    assert b"sk-canary-1" not in body


def test_a_collector_that_is_not_there_is_said_before_anything_runs(
    monkeypatch: pytest.MonkeyPatch, workspace: Workspace, folder: Path, modelling: ModelServer
) -> None:
    with pytest.raises(Invalid, match="OTEL_EXPORTER_OTLP_ENDPOINT"):
        traces.check("otlp")
    with pytest.raises(Invalid, match="no such place"):
        traces.check("jaeger")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    record = run(workspace, folder, modelling, lines=1)
    with pytest.raises(Unavailable, match="no collector"):
        list(traces.send(workspace, traces.of_run(record), to="otlp"))


def test_tests_and_requests_become_traces_of_mlflow_once(
    workspace: Workspace, folder: Path, modelling: ModelServer
) -> None:
    from mlflow import MlflowClient

    connections = theirs(modelling)
    flow = flows.load(folder)
    result = flows.test(flow, {"question": "q"}, connections=connections)
    line = LineRecord(
        number=0, status=result.status, inputs={"question": "sk-canary-1"}, outputs=result.outputs, error=None,
        nodes=result.nodes, duration=0.25,
    )  # fmt: skip
    for _ in range(2):
        serve_log.keep_test(
            workspace.home, flow=flow.name, digest=flow.digest, line=line, started_at=1_700_000_000.0,
            mask=Mask(connections.values()),
        )  # fmt: skip
    assert traces.carry(workspace) == 2
    assert traces.carry(workspace) == 0
    (workspace.home / "spool" / "served" / ".carried.json").unlink()  # as after a crash before it was written
    assert traces.carry(workspace) == 2
    client = MlflowClient(f"sqlite:///{workspace.home / 'mlflow.db'}")
    (experiment,) = [each for each in client.search_experiments() if each.name.endswith("/traces")]
    found: Any = client.search_traces(locations=[experiment.experiment_id])
    assert len(found) == 2
    trace = found[0]
    assert trace.info.token_usage == {"input_tokens": 7, "output_tokens": 2, "total_tokens": 9}
    chat = next(span for span in trace.data.spans if span.name == "chat small-1")
    assert chat.span_type == "CHAT_MODEL"
    assert "sk-canary-1" not in json.dumps(trace.to_dict(), default=repr)


def test_a_served_request_becomes_a_trace_that_goes_on_with_its_callers(plain: Server) -> None:
    from mlflow import MlflowClient

    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    assert plain.score({"n": 4}, **{"x-request-id": "mine", "traceparent": parent}).json()["twice"] == 8
    kept = next(each for each in plain.kept() if each.id == "mine")
    with Workspace.open(plain.home) as workspace:
        assert traces.carry(workspace) >= 1
        client = MlflowClient(f"sqlite:///{workspace.home / 'mlflow.db'}")
        (experiment,) = [each for each in client.search_experiments() if each.name.endswith("/traces")]
        found: Any = client.search_traces(locations=[experiment.experiment_id])
    (trace,) = [each for each in found if each.info.trace_id.endswith("0af7651916cd43dd8448eb211c80319c")]
    root = trace.data.spans[0]
    assert {root.attributes[f"studiolo.{key}"] for key in ("flow.digest", "kind")} == {kept.digest, "request"}
    assert "work" in [span.name for span in trace.data.spans]


def test_only_runs_of_flows_have_traces(workspace: Workspace) -> None:
    with workspace.run("job", name="other") as other:
        pass
    with pytest.raises(NotFound, match="only runs of flows"):
        list(traces.of_run(workspace.runs.get(other.run_id)))


# In the ledger


def test_the_ledger_follows_the_logs(workspace: Workspace, folder: Path, modelling: ModelServer) -> None:
    record = run(workspace, folder, modelling, lines=4)
    joined = "flow_lines JOIN flow_nodes USING (run_id, line)"
    rows = workspace.sql(f"SELECT line, name, flow_nodes.completion_tokens FROM {joined} ORDER BY ALL").rows
    assert rows == [(line, *node) for line in range(4) for node in (("ask", 2), ("tidy", 0))]
    assert workspace.sql("SELECT outputs->>'said' FROM flow_lines").rows == [("Hel",)] * 4
    log = record.directory / "lines.jsonl"
    first = log.read_text().splitlines()[0]
    with log.open("a") as file:  # a line that ran again counts once, as it ended last; a torn one not at all
        file.write(first.replace('"Completed"', '"Failed"', 1) + "\n" + first[:40])
    assert workspace.sql("SELECT status, count(*) FROM flow_lines GROUP BY ALL ORDER BY ALL").rows == [
        ("Completed", 3), ("Failed", 1),
    ]  # fmt: skip
    serve_log.keep_test(
        workspace.home, flow="f", digest="d", line=next(flows.lines(record)), started_at=1.0, mask=Mask([])
    )
    assert workspace.sql("SELECT flow, path, prompt_tokens FROM served_requests").rows == [("f", "test", 7)]
    log.unlink()
    assert workspace.sql("SELECT count(*) FROM flow_lines").rows == [(0,)]


def _one_row(folder: Path) -> Path:
    data = folder.parent / "one.jsonl"
    data.write_text('{"question": "q"}\n')
    return data

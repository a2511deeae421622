"""Requests to the gateway become traces of a real MLflow: once, without their text, flows under the requests."""

from __future__ import annotations

import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from flows import connection_store, otel
from flows.connections import Connection
from serving import endpoints, replicas
from serving.call import Limits
from serving.gateway import create_app
from studiolo import request_traces, traces
from tests.serving.conftest import answer, listening, scripted
from workspace import Workspace

TRACE, SPAN, CALLER = "0af7651916cd43dd8448eb211c80319c", "00f067aa0ba902b7", "b7ad6b7169203331"
ROW: dict[str, Any] = {
    "request_id": "r1", "response_id": "chatcmpl-1", "token": "key-1", "path": "/v1/chat/completions",
    "asked": "support", "endpoint": "support", "deployment": "support/blue", "engine": "torch",
    "model": "model:tiny:1", "stream": True, "cohort": "a1f", "mirror_of": None, "failures": [], "status": 200,
    "error": None, "finish": "stop", "prompt_tokens": 7, "completion_tokens": 2, "cost": 0.5, "first_byte_ms": 40.0,
    "duration_ms": 250.0, "started_at": 1_700_000_000.0, "traceparent": f"00-{TRACE}-{SPAN}-01", "parent_span": CALLER,
}  # fmt: skip
FLOW = """\
inputs: {text: {type: string}}
outputs: {said: {type: string, reference: "${say.output}"}}
nodes:
- {name: say, type: python, source: {type: code, path: say.py}, inputs: {text: "${inputs.text}"}}
"""
CHATTY = """\
inputs: {question: {type: string, is_chat_input: true}}
outputs: {answer: {type: string, reference: "${ask.output}", is_chat_output: true}}
nodes:
- name: ask
  type: llm
  connection: gateway
  source: {type: code, path: ask.jinja2}
  inputs: {model: small, q: "${inputs.question}"}
"""
SAY = "from promptflow.core import tool\n\n\n@tool\ndef say(text: str) -> str:\n    return text\n"


def told(workspace: Workspace) -> dict[str, Any]:
    """The traces in MLflow by the last 32 letters of their ids."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{workspace.home / 'mlflow.db'}")
    (place,) = [each for each in client.search_experiments() if each.name.endswith("/traces")]
    found: Any = client.search_traces(locations=[place.experiment_id], max_results=200)
    return {trace.info.trace_id[-32:]: trace for trace in found}


def test_a_request_is_a_span_with_the_conventions_of_models() -> None:
    asked = request_traces.asked_of(ROW, 0.0)
    assert asked
    span = otel.asked_span(asked)
    said = {each.key: getattr(each.value, str(each.value.WhichOneof("value"))) for each in span.attributes}
    assert (span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()) == (TRACE, SPAN, CALLER)
    assert span.name == "chat support"
    assert (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9 == pytest.approx(0.25)
    wanted = {
        "gen_ai.operation.name": "chat", "gen_ai.request.model": "support", "gen_ai.response.model": "model:tiny:1",
        "gen_ai.response.id": "chatcmpl-1", "gen_ai.usage.input_tokens": 7, "gen_ai.usage.output_tokens": 2,
        "gen_ai.provider.name": "torch", "http.response.status_code": 200, "studiolo.deployment": "support/blue",
        "studiolo.cohort": "a1f", "studiolo.key": "key-1", "studiolo.cost": 0.5,
    }  # fmt: skip
    assert {key: said.get(key) for key in wanted} == wanted
    assert [each.string_value for each in said["gen_ai.response.finish_reasons"].values] == ["stop"]
    (event,) = span.events
    assert (event.time_unix_nano - span.start_time_unix_nano) / 1e9 == pytest.approx(0.04)


def test_rows_become_traces_of_mlflow_once_and_what_is_not_sampled_none(workspace: Workspace) -> None:
    rows = [
        ROW,
        ROW | {"request_id": "r2", "traceparent": f"00-{'b' * 32}-{SPAN}-00"},
        ROW | {"request_id": "r3", "traceparent": f"00-{'c' * 32}-{SPAN}-01", "parent_span": None, "status": 502},
        {"request_id": "old", "path": "/v1/chat/completions", "endpoint": None, "status": 404, "duration_ms": 1.0},
    ]
    for row in rows:
        workspace.spool.append("request", row, event_id=row["request_id"])
    assert request_traces.carry(workspace, most=2) == 2
    assert request_traces.carry(workspace) == 1
    assert request_traces.carry(workspace) == 0
    (workspace.home / "spool" / ".requests-carried-mlflow").unlink()  # as after a crash before it was written
    assert request_traces.carry(workspace) == 3
    found = told(workspace)
    assert len(found) == 3
    assert found[TRACE].info.token_usage == {"input_tokens": 7, "output_tokens": 2, "total_tokens": 9}
    assert str(found["c" * 32].info.state).endswith("ERROR")


def test_a_flood_of_requests_passes_and_the_newest_are_kept(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(request_traces, "BEHIND", 3)
    for number in range(10):
        workspace.spool.append("request", ROW | {"request_id": f"r{number}", "traceparent": ""}, event_id=f"r{number}")
    assert request_traces.carry(workspace) == 3
    assert request_traces.carry(workspace) == 0
    assert "become no traces" in caplog.text


def test_a_collector_that_the_usual_variables_name_gets_them_too(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    got: list[bytes] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Collector) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        assert traces.names_collector(os.environ)
        workspace.spool.append("request", ROW, event_id="r1")
        assert request_traces.carry(workspace, to="otlp") == 1
        assert request_traces.carry(workspace, to="otlp") == 0
        server.shutdown()
    (span,) = ExportTraceServiceRequest.FromString(got[0]).resource_spans[0].scope_spans[0].spans
    assert (span.name, span.trace_id.hex()) == ("chat support", TRACE)


async def test_the_trace_of_a_flow_hangs_under_the_request_that_asked_it(workspace: Workspace, tmp_path: Path) -> None:
    folder = tmp_path / "say"
    folder.mkdir()
    (folder / "flow.dag.yaml").write_text(FLOW)
    (folder / "say.py").write_text(SAY)
    endpoints.put(workspace, "says")
    flow = workspace.assets.put("flow", "say", folder).ref
    endpoints.put_deployment(workspace, "says", "blue", engine="flow", model=flow)
    headers = {"authorization": f"Bearer {workspace.tokens.local()}", "traceparent": f"00-{TRACE}-{CALLER}-01"}
    app = create_app(workspace, limits=Limits(loading=120.0))
    try:
        async with listening(app) as url, httpx.AsyncClient(base_url=url, headers=headers, timeout=120) as http:
            answer = await http.post("/endpoints/says/score", json={"text": "a canary"})
            assert answer.json() == {"said": "a canary"}
            app.close()
    finally:
        replicas.stop_all(workspace.home)  # it writes what it has answered
    assert traces.carry(workspace) == 1
    assert request_traces.carry(workspace) == 1
    trace = told(workspace)[TRACE]
    spans = {span.name: span for span in trace.data.spans}
    assert set(spans) == {"score says", "invoke_workflow say", "say"}
    assert spans["invoke_workflow say"].parent_id == spans["score says"].span_id
    assert spans["say"].parent_id == spans["invoke_workflow say"].span_id
    assert "canary" not in json.dumps(spans["score says"].to_dict(), default=repr)


async def test_what_a_flow_behind_an_endpoint_asks_of_a_model_hangs_under_its_call(
    workspace: Workspace, tmp_path: Path
) -> None:
    folder = tmp_path / "chatty"
    folder.mkdir()
    (folder / "flow.dag.yaml").write_text(CHATTY)
    (folder / "ask.jinja2").write_text("user:\n{{ q }}\n")
    flow = workspace.assets.put("flow", "chatty", folder).ref
    endpoints.put(workspace, "bot")
    endpoints.put_deployment(workspace, "bot", "blue", engine="flow", model=flow)
    app = create_app(workspace, limits=Limits(loading=120.0))
    try:
        async with scripted(answer) as upstream, listening(app) as url:
            properties = {"base_url": f"http://127.0.0.1:{upstream.port}/v1"}
            endpoints.put(workspace, "small")
            endpoints.put_deployment(workspace, "small", "a", engine="openai", model="m", properties=properties)
            keys = {"api_key": workspace.tokens.local()}
            gateway = Connection(name="gateway", type="open_ai", configs={"base_url": f"{url}/v1"}, secrets=keys)
            connection_store.create(workspace, gateway)
            headers = {"authorization": f"Bearer {keys['api_key']}", "traceparent": f"00-{TRACE}-{CALLER}-01"}
            async with httpx.AsyncClient(base_url=url, headers=headers, timeout=120) as http:
                asked = {"model": "bot", "messages": [{"role": "user", "content": "Hi"}]}
                found = await http.post("/v1/chat/completions", json=asked)
                assert found.json()["choices"][0]["message"]["content"] == "Hello"
            app.close()
    finally:
        replicas.stop_all(workspace.home)  # it writes what it has answered
    assert traces.carry(workspace) == 1
    assert request_traces.carry(workspace) == 2
    spans = {(span.name, span.attributes.get("studiolo.kind")): span for span in told(workspace)[TRACE].data.spans}
    way = [
        ("chat bot", "gateway"), ("invoke_workflow chatty", "request"), ("ask", None), ("chat small", None),
        ("chat small", "gateway"),
    ]  # fmt: skip
    assert spans.keys() == set(way)
    assert [spans[each].parent_id for each in way] == [CALLER, *(spans[each].span_id for each in way[:-1])]


def test_a_request_of_a_run_that_nobody_is_told_of_names_its_caller_and_hangs_under_nothing() -> None:
    asked = request_traces.asked_of(ROW | {"parent_span": None, "asked_by": f"00-{'a' * 32}-{CALLER}-01"}, 0.0)
    assert asked
    span = otel.asked_span(asked)
    said = {each.key: each.value.string_value for each in span.attributes}
    assert (span.parent_span_id, said["studiolo.asked_by"]) == (b"", f"00-{'a' * 32}-{CALLER}-01")

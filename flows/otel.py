"""Lines as OpenTelemetry spans: the flow, its nodes, and what happened inside, with the `gen_ai.*` conventions; and
requests to models at a gateway, of which nothing is known that was said.

The one place that knows these conventions (https://opentelemetry.io/docs/specs/semconv/gen-ai/). Ids are made from
what is told, so that the same line told twice is one trace.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from flows.line_trace import PARENT
from flows.results import FAILED, LineRecord, NodeRecord, SpanRecord

SERVICE = "studiolo"
_OPERATIONS = {
    "llm": "chat", "embedding": "embeddings", "tool": "execute_tool", "function": "execute_tool",
    "retrieval": "retrieval", "chain": "invoke_workflow", "node": "execute_task", "try": "execute_task",
}  # fmt: skip
_MLFLOW_TYPES = {
    "llm": "CHAT_MODEL", "embedding": "EMBEDDING", "tool": "TOOL", "function": "TOOL", "retrieval": "RETRIEVER",
    "chain": "CHAIN", "node": "CHAIN", "try": "CHAIN", "flow": "CHAIN",
}  # fmt: skip
_PATHS = {
    "/v1/completions": ("text_completion", "LLM"), "/v1/embeddings": ("embeddings", "EMBEDDING"),
    "/v1/rerank": ("rerank", "RERANKER"), "/v1/score": ("rerank", "RERANKER"), "/rerank": ("rerank", "RERANKER"),
    "/v1/chat/completions": ("chat", "CHAT_MODEL"), "/v1/responses": ("chat", "CHAT_MODEL"),
    "/v1/messages": ("chat", "CHAT_MODEL"),
}  # fmt: skip
_LONGEST = 32_000  # characters of one attribute


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a line comes from. `id` is unique among origins; `digest` is the version of the flow.

    `traceparent` is the W3C trace context of who asked.
    """

    id: str
    flow: str
    digest: str
    kind: str  # "test", "request" or "batch"
    started_at: float  # UTC seconds
    duration: float
    run_id: str = ""
    traceparent: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request to a model at a gateway, never its text. `traceparent` is its own place in its trace.

    `first_token` is when the first byte of the answer was there; `more` are attributes of the gateway's own words.
    """

    id: str
    path: str
    asked: str  # the name by which the client asked
    started_at: float  # UTC seconds
    duration: float
    status: int
    traceparent: str = ""
    parent: str = ""  # the caller's span
    error: str | None = None
    engine: str | None = None
    model: str | None = None
    response_id: str | None = None
    finish: str | None = None
    tokens: tuple[int, int] | None = None
    cost: float | None = None
    first_token: float | None = None  # UTC seconds
    more: Mapping[str, Any] = field(default_factory=dict)


Told = tuple[Origin, LineRecord] | Asked


def request(told: Iterable[Told]) -> ExportTraceServiceRequest:
    """Return lines and requests as what OTLP sends."""
    made = ExportTraceServiceRequest()
    resource = made.resource_spans.add()
    resource.resource.attributes.append(_attribute("service.name", SERVICE))
    scope = resource.scope_spans.add()
    scope.scope.name = SERVICE
    for each in told:
        scope.spans.extend(spans_of(each))
    return made


def spans_of(told: Told) -> Iterator[Span]:
    """Yield the spans of a line, or the one of a request."""
    if isinstance(told, Asked):
        yield asked_span(told)
    else:
        yield from spans(*told)


def recorded(traceparent: str) -> bool:
    """Whether a W3C trace context wants its trace to be recorded; one that says nothing does."""
    return not PARENT.match(traceparent) or bool(int(traceparent[-2:], 16) & 1)


def asked_span(asked: Asked) -> Span:
    """Return the span of a request at a gateway."""
    found = PARENT.match(asked.traceparent)
    operation, kind = _PATHS.get(asked.path, (asked.path.rpartition("/")[2] or "ask", "UNKNOWN"))
    span = Span(
        trace_id=bytes.fromhex(found["trace"]) if found else _digest(asked.id)[:16],
        span_id=bytes.fromhex(found["span"]) if found else _digest(f"{asked.id}/root")[:8],
        parent_span_id=bytes.fromhex(asked.parent), name=_text(f"{operation} {asked.asked}".rstrip()),
        kind=Span.SPAN_KIND_SERVER, start_time_unix_nano=_nano(asked.started_at),
        end_time_unix_nano=_nano(asked.started_at + max(asked.duration, 0.0)),
    )  # fmt: skip
    flow = asked.engine == "flow"  # its own spans tell what its models used: counted once
    tokens = asked.tokens or (None, None)
    cost = None if asked.cost is None else json.dumps({"total_cost": asked.cost})
    _put(span, {
        "gen_ai.operation.name": operation, "gen_ai.provider.name": asked.engine,
        "gen_ai.request.model": asked.asked or None, "gen_ai.response.model": asked.model,
        "gen_ai.response.id": asked.response_id,
        "gen_ai.response.finish_reasons": [asked.finish] if asked.finish else None,
        "studiolo.tokens.prompt" if flow else "gen_ai.usage.input_tokens": tokens[0],
        "studiolo.tokens.completion" if flow else "gen_ai.usage.output_tokens": tokens[1],
        "studiolo.cost": asked.cost, "mlflow.llm.cost": None if flow else cost,
        "url.path": asked.path, "http.request.method": "POST", "http.response.status_code": asked.status,
        "studiolo.kind": "gateway", "studiolo.request_id": asked.id,
        "mlflow.spanType": kind, "mlflow.traceName": _text(asked.asked or asked.path), **asked.more,
    })  # fmt: skip
    if asked.first_token is not None:
        event = span.events.add(name="first token", time_unix_nano=_nano(asked.first_token))
        waited = round(asked.first_token - asked.started_at, 6)
        event.attributes.append(_attribute("gen_ai.server.time_to_first_token", waited))
    failed = asked.error or (f"status {asked.status}" if asked.status >= 400 else None)
    _end(span, failed)
    return span


def trace_id(origin: Origin, line: LineRecord) -> bytes:
    """Return the 16 bytes of a line's trace: the caller's where a caller said so, else what servers were told."""
    if found := PARENT.match(origin.traceparent):
        return bytes.fromhex(found["trace"])
    return bytes.fromhex(line.trace) if line.trace else _digest(origin.id)[:16]


def spans(origin: Origin, line: LineRecord) -> Iterator[Span]:
    """Yield the spans of one line, the root first."""
    trace = trace_id(origin, line)
    root = _root(origin, line, trace)
    if found := PARENT.match(origin.traceparent):
        root.parent_span_id = bytes.fromhex(found["span"])
    yield root
    for index, node in enumerate(line.nodes):
        yield from _node(origin, node, trace, root.span_id, f"{index}")


def _root(origin: Origin, line: LineRecord, trace: bytes) -> Span:
    status, _, error, tokens, cost, models = line.summary()
    root = Span(
        trace_id=trace, span_id=_digest(f"{origin.id}/root")[:8], name=_text(f"invoke_workflow {origin.flow}"),
        kind=Span.SPAN_KIND_SERVER if origin.kind == "request" else Span.SPAN_KIND_INTERNAL,
        start_time_unix_nano=_nano(origin.started_at),
        end_time_unix_nano=_nano(origin.started_at + max(origin.duration, 0.0)),
    )  # fmt: skip
    _put(root, {
        "gen_ai.operation.name": "invoke_workflow", "gen_ai.workflow.name": origin.flow,
        "studiolo.flow.digest": origin.digest, "studiolo.kind": origin.kind, "studiolo.status": status,
        "studiolo.run_id": origin.run_id or None, "studiolo.line": line.number if origin.run_id else None,
        "studiolo.tokens.prompt": tokens[0] or None, "studiolo.tokens.completion": tokens[1] or None,
        "studiolo.cost": cost, "studiolo.models": sorted(set(models)) or None,
        "mlflow.spanType": _MLFLOW_TYPES["flow"], "mlflow.traceName": origin.flow,
        **_seen(line.inputs, line.outputs),
    })  # fmt: skip
    _end(root, error if status == FAILED else None)
    return root


def _node(origin: Origin, node: NodeRecord, trace: bytes, parent: bytes, place: str) -> Iterator[Span]:
    if not node.started_at:
        return  # it was bypassed
    span = Span(
        trace_id=trace, span_id=_digest(f"{origin.id}/{place}")[:8], parent_span_id=parent, name=_text(node.name),
        kind=Span.SPAN_KIND_INTERNAL, start_time_unix_nano=_nano(node.started_at),
        end_time_unix_nano=_nano(max(node.ended_at, node.started_at)),
    )  # fmt: skip
    _put(span, {
        "gen_ai.operation.name": "execute_task", "studiolo.node.name": node.name, "studiolo.node.type": node.type,
        "studiolo.status": node.status, "studiolo.cost": node.cost, "mlflow.spanType": _MLFLOW_TYPES["node"],
        **_seen(node.inputs, node.output),
    })  # fmt: skip
    _end(span, node.error)
    yield span
    for index, child in enumerate(node.spans):
        yield from _inner(origin, child, trace, span.span_id, f"{place}.{index}")


def _inner(origin: Origin, record: SpanRecord, trace: bytes, parent: bytes, place: str) -> Iterator[Span]:
    model = record.attributes.get("gen_ai.request.model") or record.model
    operation = record.attributes.get("gen_ai.operation.name") or _OPERATIONS.get(record.kind, record.kind)
    calls = record.kind in ("llm", "embedding")
    span = Span(
        trace_id=trace, parent_span_id=parent,
        span_id=bytes.fromhex(record.id) if record.id else _digest(f"{origin.id}/{place}")[:8],
        name=_text(f"{operation} {model}" if calls and model else record.name),
        kind=Span.SPAN_KIND_CLIENT if calls else Span.SPAN_KIND_INTERNAL,
        start_time_unix_nano=_nano(record.started_at),
        end_time_unix_nano=_nano(max(record.ended_at, record.started_at)),
    )  # fmt: skip
    said = dict(record.attributes) | {"gen_ai.operation.name": operation}
    if calls:
        said |= {
            "gen_ai.request.model": model, "gen_ai.response.model": record.model,
            "gen_ai.usage.input_tokens": record.tokens[0] or None,
            "gen_ai.usage.output_tokens": record.tokens[1] or None,
            "mlflow.llm.cost": None if record.cost is None else json.dumps({"total_cost": record.cost}),
        }  # fmt: skip
    if record.kind == "llm":
        said |= _messages(record)
    if record.kind in ("tool", "function"):
        said["gen_ai.tool.name"] = record.name
    said |= {"studiolo.cost": record.cost, "mlflow.spanType": _MLFLOW_TYPES.get(record.kind, "UNKNOWN")}
    _put(span, said | _seen(record.inputs, record.output))
    _end(span, record.error)
    yield span
    for index, child in enumerate(record.spans):
        yield from _inner(origin, child, trace, span.span_id, f"{place}.{index}")


def _messages(record: SpanRecord) -> dict[str, Any]:
    """Return what was said as the conventions write it: messages of parts."""
    asked = record.inputs.get("messages") if isinstance(record.inputs, Mapping) else record.inputs
    if isinstance(record.inputs, Mapping) and "prompt" in record.inputs:
        asked = [{"role": "user", "content": record.inputs["prompt"]}]
    answered = record.output if isinstance(record.output, list) else [record.output]
    said = {}
    if isinstance(asked, list):
        said["gen_ai.input.messages"] = json.dumps([_message(each, "user") for each in asked], ensure_ascii=False)
    if record.output is not None:
        out = [
            _message(each.get("message", each) if isinstance(each, Mapping) else each, "assistant") for each in answered
        ]
        said["gen_ai.output.messages"] = json.dumps(out, ensure_ascii=False)
    return said


def _message(given: Any, role: str) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        return {"role": role, "parts": [{"type": "text", "content": given}]}
    content = given.get("content", given.get("text"))
    parts: list[dict[str, Any]] = []
    if isinstance(content, list):
        parts += [dict(each) if isinstance(each, Mapping) else {"type": "text", "content": each} for each in content]
    elif content is not None:
        parts.append({"type": "text", "content": content})
    for call in given.get("tool_calls") or ():
        function = call.get("function") or {} if isinstance(call, Mapping) else {}
        parts.append({
            "type": "tool_call", "id": call.get("id"), "name": function.get("name") or call.get("name"),
            "arguments": function.get("arguments") or call.get("args"),
        })  # fmt: skip
    return {"role": str(given.get("role") or role), "parts": parts}


def _seen(inputs: Any, output: Any) -> dict[str, Any]:
    """Return inputs and output as OpenInference writes them, which most viewers of traces read."""
    return {
        "input.value": _json(inputs), "input.mime_type": "application/json",
        "output.value": _json(output), "output.mime_type": "application/json",
    }  # fmt: skip


def _json(value: Any) -> str | None:
    if value is None:
        return None
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= _LONGEST else json.dumps(f"{text[:_LONGEST]}… ({len(text):,} characters)")


def _end(span: Span, error: str | None) -> None:
    if error is None:
        span.status.code = Status.STATUS_CODE_OK
        return
    span.status.code, span.status.message = Status.STATUS_CODE_ERROR, _text(error[:1000])
    kind = error.partition(":")[0]
    _put(span, {"error.type": kind if kind.isidentifier() else "error"})


def _put(span: Span, attributes: Mapping[str, Any]) -> None:
    known = {each.key for each in span.attributes}
    span.attributes.extend(
        _attribute(key, value) for key, value in attributes.items() if value is not None and key not in known
    )


def _attribute(key: str, value: Any) -> KeyValue:
    return KeyValue(key=_text(key), value=_value(value))


def _value(value: Any) -> AnyValue:
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int) and abs(value) < 1 << 63:
        return AnyValue(int_value=value)
    if isinstance(value, float):
        return AnyValue(double_value=value)
    if isinstance(value, list | tuple) and all(isinstance(each, str | int | float) for each in value):
        return AnyValue(array_value=ArrayValue(values=[_value(each) for each in value]))
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=repr)
    return AnyValue(string_value=_text(text[: _LONGEST * 2]))


def _text(text: str) -> str:
    """Return what every protocol and database takes: no halves of pairs, no zeros."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


def _nano(seconds: float) -> int:
    return max(round(seconds * 1e9), 0)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()

"""Chats that were answered here, as they were kept: by deployments that collect data, and by flows that were served."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows import data as files
from flows.line_trace import PARENT
from flows.serve import log as serve_log
from serving import endpoints
from serving.kept_calls import PROPERTY, REQUEST, RESPONSE
from serving.kept_traffic import FOLDER
from workspace.errors import Invalid, NotFound

if TYPE_CHECKING:
    from flows.results import NodeRecord, SpanRecord
    from workspace.home import Workspace

_TAIL = 100  # letters of a stream in which it says that it is whole
_DONE = "stop", "tool_calls", "end_turn", "function_call"


@dataclass(frozen=True, slots=True, kw_only=True)
class Logged:
    """One chat: `id` is the request's, `trace` the 32 digits of its trace; `answer` is None where it broke off.

    `source` is who answered, as lineage names it.
    """

    id: str
    at: float  # UTC seconds
    source: str
    messages: tuple[Mapping[str, Any], ...]
    answer: Mapping[str, Any] | None
    tools: tuple[Any, ...] = ()
    trace: str = ""
    model: str | None = None


def of_endpoint(
    workspace: Workspace, endpoint: str, *, deployment: str | None = None, since: float = 0.0
) -> Iterator[Logged]:
    """Yield the chats that deployments of an endpoint have collected; raises NotFound where none collects any."""
    known = endpoints.get(workspace, endpoint)
    names = [deployment] if deployment else sorted(known.deployments)
    if deployment:
        endpoints.deployment(workspace, endpoint, deployment)
    folders = {name: workspace.home / FOLDER / endpoint / name for name in names}
    if not any((folder / REQUEST).is_dir() and (folder / RESPONSE).is_dir() for folder in folders.values()):
        collecting = any(known.deployments[name].properties.get(PROPERTY) for name in names)
        hint = "it collects from now on: ask it" if collecting else "its file asks for it: data_collector, collections"
        raise NotFound(f"no requests and answers of {endpoint!r} are kept", hint=hint)
    traces = _traces(workspace)
    found = (_collected(folder, f"deployment:{endpoint}:{name}", traces, since) for name, folder in folders.items())
    yield from sorted((chat for chats in found for chat in chats), key=lambda chat: chat.at)


def _collected(folder: Path, source: str, traces: Mapping[str, str], since: float) -> Iterator[Logged]:
    """Yield the chats of one deployment: requests whose answers are kept too."""
    answers = {
        str(event.get("correlationid")): event
        for event in _events(folder / RESPONSE)
        if event.get("status") in (None, 200)
    }
    for event in _events(folder / REQUEST):
        id_, at = str(event.get("correlationid")), _moment(event.get("time"))
        body = event.get("data")
        if at < since or id_ not in answers or not isinstance(body, Mapping):
            continue
        found = _chat(body, answers[id_].get("data"))
        if found is not None:
            messages, tools, answer, model = found
            yield Logged(
                id=id_, at=at, source=source, messages=messages, tools=tools, answer=answer,
                trace=traces.get(id_, ""), model=model,
            )  # fmt: skip


def of_flow(workspace: Workspace, flow: str, *, since: float = 0.0) -> Iterator[Logged]:
    """Yield what a served flow has asked models, and what they answered."""
    met = False
    for request in serve_log.served(workspace.home):
        if request.flow != flow or request.line is None:
            continue
        met = True
        found = PARENT.match(request.traceparent)
        trace = found["trace"] if found else request.line.trace
        for node in request.line.nodes if request.ts >= since else ():
            for place, span in enumerate(_asked(node)):
                messages, tools, answer = _of_span(span)
                yield Logged(
                    id=request.id if place == 0 else f"{request.id}/{node.name}/{place}", at=request.ts, trace=trace,
                    source=f"flow:{request.flow}:{request.digest.removeprefix('sha256:')[:12] or '0'}",
                    messages=messages, tools=tools, answer=answer, model=span.model,
                )  # fmt: skip
    if not met:
        raise NotFound(f"no requests of flow {flow!r} are kept", hint="studiolo flow serve keeps them")


def moment(written: str | None) -> float:
    """Return when `2026-11-28`, `2026-11-28T10:00` or `7d` ago was, in UTC seconds; 0 for nothing."""
    if not written:
        return 0.0
    if found := re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", written.strip()):
        return time.time() - float(found[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}[found[2]]
    try:
        return datetime.fromisoformat(written).astimezone().timestamp()
    except ValueError:
        raise Invalid(f"{written!r} is no moment", hint="2026-11-28, 2026-11-28T10:00, or 7d for a week ago") from None


def _events(folder: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.rglob("*.jsonl")) if folder.is_dir() else ():
        for row in files.read(path):
            if isinstance(row, files.BadRow):
                continue  # cut short by a crash
            if "dataref" in row:
                with suppress(OSError, ValueError):
                    row["data"] = json.loads((path.parent / str(row["dataref"])).read_bytes())
            yield row


def _traces(workspace: Workspace) -> dict[str, str]:
    """Return the trace of each request that the gateway has a row of."""
    workspace.spool.ingest()
    found = {}
    for row in workspace.light.rows("SELECT payload FROM events WHERE kind = 'request'"):
        payload = json.loads(row["payload"]) if isinstance(row["payload"], str) else row["payload"]
        if match := PARENT.match(str(payload.get("traceparent") or "")):
            found[str(payload.get("request_id"))] = match["trace"]
    return found


_Chat = tuple[tuple[Mapping[str, Any], ...], tuple[Any, ...], Mapping[str, Any] | None, str | None]


def _chat(body: Mapping[str, Any], answered: Any) -> _Chat | None:
    """Return a chat of its two bodies; what is none gives None."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        return None
    answer = _streamed(answered) if isinstance(answered, str) else answered
    if not isinstance(answer, Mapping):
        return None
    return tuple(messages), tuple(body.get("tools") or ()), _first_choice(answer.get("choices")), answer.get("model")


def _first_choice(choices: Any) -> Mapping[str, Any] | None:
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, Mapping) or choice.get("finish_reason") not in (None, *_DONE):
        return None
    message = choice.get("message")
    return message if isinstance(message, Mapping) else None


def _streamed(text: str) -> dict[str, Any] | None:
    """Put an answer together from the events in which it came."""
    said, calls, finish, model = "", dict[int, dict[str, Any]](), None, None
    for line in text.splitlines():
        chunk = _event(line)
        choices = chunk.get("choices") or [{}]
        delta = choices[0].get("delta") or {}
        said += delta.get("content") or ""
        for part in delta.get("tool_calls") or ():
            call = calls.setdefault(part.get("index", 0), {"id": None, "type": "function", "function": {}})
            function = part.get("function") or {}
            call["id"] = call["id"] or part.get("id")
            for name in ("name", "arguments"):
                call["function"][name] = call["function"].get(name, "") + (function.get(name) or "")
        finish, model = choices[0].get("finish_reason") or finish, chunk.get("model") or model
    if finish is None and "[DONE]" not in text[-_TAIL:]:
        return None  # the client left, or the engine broke off
    message: dict[str, Any] = {"role": "assistant", "content": said or None}
    if calls:
        message["tool_calls"] = [calls[place] for place in sorted(calls)]
    return {"model": model, "choices": [{"message": message, "finish_reason": finish}]}


def _event(line: str) -> dict[str, Any]:
    if line.startswith("data:") and line[5:].strip() != "[DONE]":
        with suppress(ValueError):
            found = json.loads(line[5:])
            return found if isinstance(found, dict) else {}
    return {}


def _asked(node: NodeRecord) -> Iterator[SpanRecord]:
    """Yield the calls of models inside a node that are chats."""
    waiting = list(node.spans)
    while waiting:
        span = waiting.pop(0)
        waiting += span.spans
        if span.kind == "llm" and isinstance(span.inputs, Mapping) and span.inputs.get("messages"):
            yield span


def _of_span(span: SpanRecord) -> tuple[tuple[Mapping[str, Any], ...], tuple[Any, ...], Mapping[str, Any] | None]:
    if isinstance(span.output, str):
        answer: Mapping[str, Any] | None = {"role": "assistant", "content": span.output}
    else:
        answer = _first_choice(span.output)
    return tuple(span.inputs["messages"]), tuple(span.inputs.get("tools") or ()), None if span.error else answer


def _moment(written: Any) -> float:
    try:
        return datetime.fromisoformat(str(written)).timestamp()
    except ValueError:
        return 0.0

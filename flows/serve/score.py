"""What a served flow makes of a body, and which of its outputs it answers with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from flows.flow import MISSING, Flow
from flows.mapping import converted
from flows.references import Reference
from flows.results import COMPLETED, FAILED, WAITING, LineRecord, NodeRecord
from flows.serve.http import Refused
from flows.streams import Stream

EVENTS = "text/event-stream"
JSON = frozenset({"application/json", "application/*", "*/*"})


def inputs_of(flow: Flow, raw: bytes) -> dict[str, Any]:
    """Return the inputs that a body means, in their types; Refused where it cannot be right.

    A body that is no JSON object is, as text, the one input of a flow that has one.
    """
    if not flow.inputs:
        return {}
    return checked(flow, _given(flow, raw))


def checked(flow: Flow, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return inputs in their declared types; Refused where one is missing or of another type."""
    missing = [name for name, each in flow.inputs.items() if each.default is MISSING and name not in given]
    if missing:
        raise Refused(400, f"Required input fields {missing} are missing in request data {_short(given)}")
    try:
        return converted(flow, given)
    except ValueError as error:
        raise Refused(400, f"The input for flow is incorrect. {error}") from None


def failure(record: LineRecord) -> Refused | None:
    """Return how a line that has not completed is told at /score: what the flow's own code did is the user's, 400."""
    if record.status == COMPLETED:
        return None
    said = record.error or "the flow failed without saying why"
    if record.status == WAITING:
        waiting = next((node.name for node in record.nodes if node.status == WAITING), "")
        return Refused(409, f"node {waiting!r} waits for a person, and nobody can decide in a served flow")
    is_users = is_clients(record) or said.startswith("output:") or any(node.status == FAILED for node in record.nodes)
    return Refused(400, said) if is_users else Refused(500, said, code="SystemError")


def is_clients(record: LineRecord) -> bool:
    """Whether a line failed for what it was given: an image that cannot be read."""
    return (record.error or "").startswith("input:")


def shown_outputs(flow: Flow, included: str | None) -> frozenset[str] | None:
    """Return the outputs to answer with, None for all: those a JSON list names, else all but `evaluation_only`."""
    if included:
        try:
            return frozenset(map(str, json.loads(included)))
        except (ValueError, TypeError):
            raise Refused(500, "PROMPTFLOW_RESPONSE_INCLUDED_FIELDS is no JSON list", code="SystemError") from None
    hidden = {name for name, output in flow.outputs.items() if output.evaluation_only}
    return frozenset(flow.outputs) - hidden if hidden else None


def is_bare(flow: Flow, record: LineRecord) -> bool:
    """Whether a flex flow or a prompty returned something that is no mapping: /score answers with just that."""
    if flow.kind == "dag" or list(record.outputs or ()) != ["output"]:
        return False
    return not (record.nodes and isinstance(record.nodes[-1].output, dict))


def feedback(raw: bytes, *, flatten: bool) -> dict[str, Any]:
    """Return what a person said of an answer as attributes; flattened, each field of the JSON is one."""
    text = raw.decode("utf-8", "replace")
    if flatten:
        with suppress(ValueError, RecursionError):
            given = json.loads(text)
            if isinstance(given, dict):
                return {name: _attribute(value) for name, value in given.items()}
    return {"feedback": text}


def with_streams(flow: Flow, record: LineRecord, error: str | None) -> LineRecord:
    """Return the record of a line whose streams have been read: what came of them, instead of them."""
    outputs = dict(record.outputs or {})
    read: dict[str, Stream] = {}
    for name, value in outputs.items():
        if isinstance(value, Stream):
            outputs[name] = value.so_far()
            declared = flow.outputs.get(name)
            if declared is not None and isinstance(declared.value, Reference):
                read[declared.value.source] = value
    nodes = tuple(_read_node(node, read[node.name], error) if node.name in read else node for node in record.nodes)
    return replace(record, status=FAILED if error else record.status, error=error, outputs=outputs, nodes=nodes)


def _read_node(node: NodeRecord, stream: Stream, error: str | None) -> NodeRecord:
    """What a model spent is known when its stream has ended; the node's own record was made before."""
    node = replace(node, output=stream.so_far(), status=FAILED if error else node.status, error=error)
    if (span := stream.span) is None:
        return node
    return replace(
        node,
        ended_at=max([node.ended_at, *(each.ended_at for each in span.walk())]),
        tokens=span.tokens(),
        model=span.answered_by(),
        cost=span.total_cost(),
        spans=tuple(child.record() for child in span.children),
    )


def _attribute(value: Any) -> Any:
    if isinstance(value, str | int | float | bool):
        return value
    return [_attribute(each) for each in value] if isinstance(value, list) else json.dumps(value, ensure_ascii=False)


def _given(flow: Flow, raw: bytes) -> Mapping[str, Any]:
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        value = raw
    if value is None:
        return {}
    if isinstance(value, dict):
        return value
    if len(flow.inputs) > 1:
        what = "data that is no JSON" if value is raw else "JSON that is no object"
        raise Refused(
            400, f"the flow received {what}, but it has {len(flow.inputs)} input fields: please use json request data"
        )
    try:
        return {next(iter(flow.inputs)): raw.decode("utf-8")}
    except UnicodeDecodeError:
        raise Refused(400, "the body is no UTF-8 text") from None


def _short(given: Mapping[str, Any]) -> str:
    shown = repr(dict(given))
    return shown if len(shown) <= 500 else shown[:500] + "…"

"""The OpenAPI description of a served flow: its inputs and outputs, with the example of the flow's samples.json."""

from __future__ import annotations

import json
from collections.abc import Container
from typing import Any

from flows.flow import MISSING, Flow, Input, Output

_TYPES = {"int": "integer", "double": "number", "bool": "boolean", "string": "string", "list": "array"}
_ANYTHING = {"type": "object", "additionalProperties": {}}


def describe(flow: Flow, shown: Container[str] | None, *, version: str) -> dict[str, Any]:
    """Return OpenAPI 3.0 for a flow that answers with the outputs in `shown`, all where it is None."""
    security = {"bearerAuth": {"type": "http", "scheme": "bearer"}}
    return {
        "openapi": "3.0.0",
        "info": {
            "title": f"Promptflow[{flow.name}] API",
            "version": "1.0.0",
            "x-flow-name": flow.name,
            "x-studiolo-version": version,
            **_chat(flow),
        },
        "components": {"securitySchemes": security},
        "security": [{"bearerAuth": []}],
        "paths": {
            "/score": {"post": _score(flow, shown)},
            "/feedback": {"post": _operation("collect promptflow feedback", _ANYTHING, _ANYTHING)}
            | {"parameters": [{"name": "flatten", "in": "query", "required": False, "schema": {"type": "boolean"}}]},
            "/health": {"get": _operation("whether the flow is ready", None, _ANYTHING)},
            "/v1/models": {"get": _operation("the flow as a model", None, _ANYTHING)},
            "/v1/chat/completions": {"post": _operation("the flow as an OpenAI chat model", _ANYTHING, _ANYTHING)},
        },
    }


def _chat(flow: Flow) -> dict[str, str]:
    said = {}
    if flow.chat_input:
        said = {"x-chat-input": flow.chat_input, "x-flow-type": "chat"}
        if flow.chat_history:
            said["x-chat-history"] = flow.chat_history
            said["x-chat-history-shape"] = "turns" if flow.kind == "dag" else "messages"
        if flow.chat_output:
            said["x-chat-output"] = flow.chat_output
    return said


def _score(flow: Flow, shown: Container[str] | None) -> dict[str, Any]:
    asked: dict[str, Any] = {"type": "object"}
    if flow.inputs:
        asked["properties"] = {name: _field(each) for name, each in flow.inputs.items()}
        required = [name for name, each in flow.inputs.items() if each.default is MISSING]
        if required:  # OpenAPI 3.0 knows no empty list here
            asked["required"] = required
    given: dict[str, Any] = {"type": "object"}
    if flow.outputs:
        named = {name: each for name, each in flow.outputs.items() if shown is None or name in shown}
        given["properties"] = {name: _field(each) for name, each in named.items()}
    operation = _operation(f"run promptflow: {flow.name} with an given input", asked, given)
    operation["requestBody"]["content"]["application/json"]["example"] = _example(flow)
    operation["requestBody"]["required"] = bool(flow.inputs)
    return operation


def _operation(summary: str, asked: dict[str, Any] | None, given: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": summary,
        "responses": {
            "200": {"description": "successful operation", "content": {"application/json": {"schema": given}}},
            "400": {"description": "Invalid input"},
            "default": {"description": "unexpected error"},
        },
    }
    if asked is not None:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": asked}}}
    return operation


def _field(declared: Input | Output) -> dict[str, Any]:
    kind = _TYPES.get(declared.type, "string" if declared.type in ("secret", "file_path") else "object")
    field: dict[str, Any] = {"type": kind}
    if declared.description:
        field["description"] = declared.description
    if isinstance(declared, Input) and declared.default is not MISSING and declared.type != "secret":
        field["default"] = declared.default
    if kind == "object":
        field["additionalProperties"] = {}
    if kind == "array":
        field["items"] = {}
    return field


def _example(flow: Flow) -> Any:
    """The first of samples.json in the flow's folder, else what the flow itself gives as a sample."""
    path = flow.folder / "samples.json"
    if path.is_file():
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            return {}
        return found[0] if isinstance(found, list) and found else found if isinstance(found, dict) else {}
    return dict(flow.sample)

"""The description of a scoring deployment: from inference_schema's decorators, or from an MLflow signature."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from serving.engines.scoring_spec import ScoringSpec

ANYTHING: Mapping[str, Any] = {"type": "object", "example": {}}
_TYPES = {
    "boolean": "boolean", "integer": "integer", "long": "integer", "float": "number", "double": "number",
    "string": "string", "binary": "string", "datetime": "string",
}  # fmt: skip


def swagger(spec: ScoringSpec, about: Mapping[str, Any], *, version: int = 2) -> dict[str, Any]:
    """Return the document, as Swagger 2.0 or OpenAPI 3; `about` is what the worker told of what it loaded."""
    given, answered = _schemas(about)
    described = about.get("swagger")
    parts = {"ServiceInput": given, "ServiceOutput": answered, "ErrorResponse": _error()}
    where = "#/definitions/" if version == 2 else "#/components/schemas/"
    title = f"{spec.endpoint}/{spec.deployment}"
    info = {"title": title, "version": "1.0", "description": "Scores by a script." if described else "Scores."}
    if version == 2:
        body = {"in": "body", "name": "serviceInputPayload", "schema": {"$ref": f"{where}ServiceInput"}}
        score = {"parameters": [body], "responses": _responses(lambda ref: {"schema": ref}, where)}
        return {
            "swagger": "2.0", "info": info, "schemes": ["http"], "consumes": ["application/json"],
            "produces": ["application/json"], "basePath": "/",
            "securityDefinitions": {"Bearer": {"type": "apiKey", "name": "Authorization", "in": "header"}},
            "paths": {
                "/": {"get": {"operationId": "ServiceHealthCheck", "responses": {"200": {"description": "It lives."}}}},
                "/score": {"post": {"operationId": "RunMLService", "security": [{"Bearer": []}], **score}},
            },
            "definitions": parts,
        }  # fmt: skip
    content = {"application/json": {"schema": {"$ref": f"{where}ServiceInput"}}}
    score = {
        "requestBody": {"required": True, "content": content},
        "responses": _responses(lambda ref: {"content": {"application/json": {"schema": ref}}}, where),
    }
    return {
        "openapi": "3.0.3", "info": info, "paths": {"/score": {"post": {"operationId": "RunMLService", **score}}},
        "components": {
            "schemas": parts, "securitySchemes": {"Bearer": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"Bearer": []}],
    }  # fmt: skip


def _schemas(about: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    if described := about.get("swagger"):
        return dict(described["input"]), dict(described["output"])
    signature = about.get("signature")
    if not signature:
        return dict(ANYTHING), {}
    given: dict[str, Any] = {"input_data": _of_inputs(signature.get("inputs"))}
    if signature.get("params"):
        params = {each["name"]: _column(each) for each in json.loads(signature["params"])}
        given["params"] = {"type": "object", "properties": params}
    whole = {"type": "object", "required": ["input_data"], "properties": given}
    return whole, {"type": "array", "items": _of_outputs(signature.get("outputs"))}


def _of_inputs(text: str | None) -> dict[str, Any]:
    columns = json.loads(text) if text else []
    if not columns or any(each.get("type") == "tensor" for each in columns):
        return {"type": "array", "items": {}}
    names = [each.get("name", str(number)) for number, each in enumerate(columns)]
    properties = {name: _column(each) for name, each in zip(names, columns, strict=True)}
    record = {"type": "object", "properties": properties}
    return {
        "type": "object",
        "properties": {
            "columns": {"type": "array", "items": {"type": "string", "enum": names}},
            "index": {"type": "array", "items": {"type": "integer"}},
            "data": {"type": "array", "items": {"type": "array", "items": {}}},
        },
        "required": ["columns", "data"],
        "example": {"columns": names, "index": [0], "data": []},
        "x-record": record,
    }


def _of_outputs(text: str | None) -> dict[str, Any]:
    columns = json.loads(text) if text else []
    if len(columns) == 1 and columns[0].get("type") != "tensor":
        return _column(columns[0])
    return {}


def _column(column: Mapping[str, Any]) -> dict[str, Any]:
    kind = str(column.get("type", ""))
    found: dict[str, Any] = {"type": _TYPES[kind]} if kind in _TYPES else {}
    if kind == "datetime":
        found["format"] = "date-time"
    if kind == "array":
        found = {"type": "array", "items": _column(column.get("items") or {})}
    return found


def _error() -> dict[str, Any]:
    message = {"type": "object", "properties": {"message": {"type": "string"}, "code": {"type": "string"}}}
    return {"type": "object", "properties": {"error": message}}


def _responses(content: Any, where: str) -> dict[str, Any]:
    good = {"description": "What the model answers.", **content({"$ref": f"{where}ServiceOutput"})}
    bad = {"description": "What went wrong.", **content({"$ref": f"{where}ErrorResponse"})}
    return {"200": good, "default": bad}

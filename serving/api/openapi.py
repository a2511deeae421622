"""The gateway described by itself: an OpenAPI 3.1 document of every route, made of the table that answers them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from serving.table import Route
from serving.visit import Visit

_PARAMETER = re.compile(r"\{([a-z_]+)(?::path)?\}")
_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}


def described(routes: Sequence[Route]) -> Route:
    """Return the route that shows the document of these routes and itself."""

    async def show(visit: Visit) -> None:
        await visit.answer(told)

    own = Route(
        path="/openapi.json", method="GET", answer=show, scope="look", summary="Describe every route of the gateway"
    )
    told = document([*routes, own])
    return own


def document(routes: Sequence[Route]) -> dict[str, Any]:
    """Return the OpenAPI document of the routes."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(_PARAMETER.sub(r"{\1}", route.path), {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Studiolo gateway",
            "version": "1",
            "description": "Models, endpoints and flows behind one door, for the clients of OpenAI and Anthropic.",
        },
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
            "schemas": {"Error": _ERROR},
        },
        "security": [{"bearer": []}, {"key": []}],
    }


def _operation(route: Route) -> dict[str, Any]:
    parameters = [
        {"name": found[1], "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for found in _PARAMETER.finditer(route.path)
    ]
    parameters += [{"name": name, "in": "query", "schema": dict(schema)} for name, schema in route.query.items()]
    told: dict[str, Any] = {
        "operationId": re.sub(r"[^a-z0-9]+", "_", f"{route.method} {route.path}".lower()).strip("_"),
        "summary": route.summary,
        "responses": {
            "200": {"description": "The answer", "content": {"application/json": {"schema": dict(route.response)}}},
            "default": {
                "description": "Why there is none",
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
            },
        },
    }
    if parameters:
        told["parameters"] = parameters
    if route.request is not None:
        content = {"application/json": {"schema": dict(route.request)}}
        told["requestBody"] = {"required": True, "content": content}
    if route.scope == "open":
        told["security"] = []
    return told

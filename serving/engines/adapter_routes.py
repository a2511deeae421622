"""Adapters over HTTP as at vLLM: a request names one as its model; they are loaded and unloaded while others answer."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from serving.engines.adapters import Adapter, Adapters
from serving.engines.fields import parse, word
from serving.openai_errors import Refusal
from workspace.errors import Invalid, NotFound


def asked_for(adapters: Adapters, body: Mapping[str, Any]) -> Adapter | None:
    """Return the adapter that a request names in `adapter`, which must be loaded, or in `model`."""
    name = body.get("adapter")
    if name is None:
        return adapters.get(str(body.get("model")))
    adapter = adapters.get(word(body, "adapter"))
    if adapter is None:
        known = ", ".join(adapters.names) or "none"
        raise Refusal(404, f"no adapter {name!r}; loaded: {known}", code="model_not_found", param="adapter")
    return adapter


def loading_adapters(adapters: Adapters) -> list[Route]:
    """Return the routes that load and unload adapters; an engine's socket is the gateway's alone, which has none."""

    async def load(request: Request) -> Response:
        body = parse(await request.body())
        name, folder = word(body, "lora_name"), Path(word(body, "lora_path"))
        try:
            adapter = await asyncio.to_thread(adapters.load, name, folder)
        except NotFound as error:
            raise Refusal(404, str(error), code="not_found", param="lora_path") from error
        except Invalid as error:
            raise Refusal(400, str(error), code="invalid_value", param="lora_path") from error
        return JSONResponse({"status": "ok", "adapter": adapter.name, "rank": adapter.rank})

    async def unload(request: Request) -> Response:
        try:
            adapters.unload(word(parse(await request.body()), "lora_name"))
        except NotFound as error:
            raise Refusal(404, str(error), code="not_found", param="lora_name") from error
        return JSONResponse({"status": "ok"})

    return [
        Route("/v1/load_lora_adapter", load, methods=["POST"]),
        Route("/v1/unload_lora_adapter", unload, methods=["POST"]),
    ]

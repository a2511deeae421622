"""The routes for Anthropic's clients: messages, and the counting of their tokens."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from typing import Any

from starlette.types import Send

from serving.api import fields, messages_request, schemas
from serving.api.messages_stream import MessageStream
from serving.api.translated import Retold, Translated
from serving.asking import ask_as, read_for_engine
from serving.table import Route
from serving.visit import Visit

PATHS = ("/v1/messages", "/v1/messages/count_tokens")
VERSIONS = (b"2026-10-21", b"2023-06-01")  # alike in what is done here; the newer's clients send no temperature


async def create(visit: Visit) -> None:
    """Answer with a message; to the engine it is a chat."""
    await ask_as(visit, _prepare)


async def count(visit: Visit) -> None:
    """Count the tokens of what a message would be asked with, by the engine's own tokenizer."""
    await ask_as(visit, _prepare_count)


async def _prepare(visit: Visit) -> Send:
    body = await _read(visit)
    chat = messages_request.to_chat(body)
    visit.call.answer_id = f"msg_{uuid.uuid4().hex}"
    stream = MessageStream(visit.call.answer_id, chat["model"], chat.get("stop", ()))
    return _asked(visit, "/v1/chat/completions", chat, Translated(visit.call, visit.send, stream))


async def _prepare_count(visit: Visit) -> Send:
    chat = messages_request.to_counted(await _read(visit))
    asked = {name: value for name, value in chat.items() if name in ("model", "messages", "tools")}
    return _asked(visit, "/tokenize", asked, Retold(visit.call, visit.send, _counted))


async def _read(visit: Visit) -> dict[str, Any]:
    version = visit.headers.get(b"anthropic-version")
    if version is not None and version not in VERSIONS:
        known = " or ".join(each.decode() for each in VERSIONS)
        raise fields.wrong(f"anthropic-version must be {known}", "anthropic-version")
    return await read_for_engine(visit)


def _asked(visit: Visit, path: str, request: dict[str, Any], send: Send) -> Send:
    visit.call.asks, visit.call.request = path, request
    visit.call.body = json.dumps(request).encode()
    return send


def _counted(answer: Mapping[str, Any]) -> dict[str, Any]:
    return {"input_tokens": int(answer["count"])}


ROUTES = (
    Route(
        path=PATHS[0],
        method="POST",
        answer=create,
        scope="ask",
        summary="Answer with a message (Anthropic)",
        request=schemas.MESSAGE_ASK,
    ),
    Route(
        path=PATHS[1],
        method="POST",
        answer=count,
        scope="ask",
        summary="Count the tokens of a message (Anthropic)",
        request=schemas.COUNT_ASK,
    ),
)

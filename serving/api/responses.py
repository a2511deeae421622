"""The routes of OpenAI's responses: made by a chat, kept, shown again, continued and deleted."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any
from urllib.parse import parse_qs

from starlette.types import Send

from serving.api import fields, responses_request, responses_store, schemas, truncation
from serving.api.responses_store import Stored
from serving.api.responses_stream import ResponseStream
from serving.api.translated import Translated
from serving.asking import ask_as, read_for_engine
from serving.openai_errors import Refusal
from serving.table import Route
from serving.visit import Visit
from workspace.errors import NotFound

_NAMES = {"messages": "input", "max_tokens": "max_output_tokens"}  # of fields, in what an engine refuses


async def create(visit: Visit) -> None:
    """Answer with a response; to the engine it is a chat."""
    await ask_as(visit, _prepare)


async def show(visit: Visit) -> None:
    """Show a response that was kept."""
    if parse_qs(visit.query.decode("latin-1")).get("stream", ["false"]) != ["false"]:
        raise fields.unsupported("streaming a response once more", "stream")
    await visit.answer((await _stored(visit)).response)


async def drop(visit: Visit) -> None:
    """Delete a response that was kept."""
    house, name = visit.house, visit.values["id"]
    await asyncio.to_thread(responses_store.remove, house.workspace, visit.call.token_id, name)
    await visit.answer({"id": name, "object": "response", "deleted": True})


async def input_items(visit: Visit) -> None:
    """List what a response answered, the newest first unless asked otherwise."""
    query = {name: values[-1] for name, values in parse_qs(visit.query.decode("latin-1")).items()}
    limit = query.get("limit", "20")
    most = fields.whole(
        int(limit) if limit.isascii() and limit.isdigit() and len(limit) < 9 else limit, "limit", 1, 100
    )
    order = fields.member(query.get("order", "desc"), "order", ("asc", "desc"))
    items = list((await _stored(visit)).items)
    if order == "desc":
        items.reverse()
    if after := query.get("after"):
        places = [place for place, item in enumerate(items) if item["id"] == after]
        if not places:
            raise fields.wrong(f"no item {after!r}", "after")
        items = items[places[-1] + 1 :]  # clients name items, perhaps two alike: pages must still come to an end
    page = items[:most]
    first, last = (page[0]["id"], page[-1]["id"]) if page else (None, None)
    told = {"object": "list", "data": page, "first_id": first, "last_id": last, "has_more": len(items) > most}
    await visit.answer(told)


async def _prepare(visit: Visit) -> Send:
    call, workspace = visit.call, visit.house.workspace
    name = uuid.uuid4().hex
    ask = responses_request.read(await read_for_engine(visit), own=uuid.uuid4().hex)
    before = await _before(visit, ask.previous) if ask.previous else []
    base = {"model": ask.model, "instructions": ask.instructions, "previous_response_id": ask.previous, **ask.echo}
    call.answer_id = f"resp_{name}"
    stream = ResponseStream(call.answer_id, base)

    async def keep() -> None:
        if ask.store:
            await asyncio.to_thread(responses_store.put, workspace, call.token_id, stream.response, ask.items)

    call.asks, call.request = "/v1/chat/completions", ask.to_chat(before)
    call.body = json.dumps(call.request).encode()
    if ask.truncates:
        visit.fit = partial(truncation.fit, visit, replace(ask, items=[*before, *ask.items]))
    return Translated(call, visit.send, stream, keep, names=_NAMES)


async def _before(visit: Visit, previous: str) -> list[Mapping[str, Any]]:
    try:
        found = await asyncio.to_thread(responses_store.get, visit.house.workspace, visit.call.token_id, previous)
    except NotFound as error:
        message = f"{error} ({error.hint})"
        raise Refusal(404, message, code="previous_response_not_found", param="previous_response_id") from None
    return found.conversation


async def _stored(visit: Visit) -> Stored:
    found = responses_store.get
    return await asyncio.to_thread(found, visit.house.workspace, visit.call.token_id, visit.values["id"])


ROUTES = (
    Route(
        path="/v1/responses",
        method="POST",
        answer=create,
        scope="ask",
        summary="Answer with a response",
        request=schemas.RESPONSE_ASK,
    ),
    Route(path="/v1/responses/{id}", method="GET", answer=show, scope="look", summary="Show a response"),
    Route(path="/v1/responses/{id}", method="DELETE", answer=drop, scope="ask", summary="Delete a response"),
    Route(
        path="/v1/responses/{id}/input_items",
        method="GET",
        answer=input_items,
        scope="look",
        summary="List what a response answered",
        query=schemas.PAGE,
    ),
)

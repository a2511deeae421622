"""The routes of OpenAI's batches: many requests in a file, answered when there is time, their answers in another."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from serving.api import batches_store, fields, files_store, pages, schemas
from serving.api.batch_lines import ENDPOINTS
from serving.openai_errors import Refusal
from serving.table import Route
from serving.visit import Visit
from workspace.errors import NotFound

MOST_PAIRS, LONGEST_KEY, LONGEST_VALUE = 16, 64, 512  # of metadata
_NEUTRAL: Mapping[str, tuple[object, ...]] = {"output_expires_after": ()}


async def create(visit: Visit) -> None:
    """Begin a batch over a file that was uploaded."""
    asked = await visit.read()
    fields.refuse(asked, _NEUTRAL)
    file_id = fields.needed_text(asked, "input_file_id", "input_file_id")
    endpoint = fields.member(fields.required(asked.get("endpoint"), "endpoint"), "endpoint", ENDPOINTS)
    window = fields.required(asked.get("completion_window"), "completion_window")
    fields.member(window, "completion_window", ("24h",))
    workspace, token = visit.house.workspace, visit.call.token_id
    await _check_file(visit, file_id)
    host = visit.headers.get(b"host", b"").decode("latin-1")
    made = await asyncio.to_thread(
        batches_store.create,
        workspace,
        token,
        file_id=file_id,
        endpoint=endpoint,
        metadata=_metadata(asked.get("metadata")),
        base_url=f"http://{host}",
    )
    await visit.answer(made)


async def show(visit: Visit) -> None:
    """Show a batch: how it stands, how much of it is answered."""
    await visit.answer(await asyncio.to_thread(batches_store.get, *_named(visit)))


async def listed(visit: Visit) -> None:
    """List batches, newest first."""
    found = await asyncio.to_thread(batches_store.listed, visit.house.workspace, visit.call.token_id)
    await visit.answer(pages.page(found, pages.asked(visit), usual=20, most=100))


async def cancel(visit: Visit) -> None:
    """Ask a batch to end."""
    await visit.answer(await asyncio.to_thread(batches_store.cancel, *_named(visit)))


def _named(visit: Visit) -> tuple[Any, str, str]:
    return visit.house.workspace, visit.call.token_id, visit.values["id"]


async def _check_file(visit: Visit, file_id: str) -> None:
    try:
        file = await asyncio.to_thread(files_store.get, visit.house.workspace, visit.call.token_id, file_id)
    except NotFound as error:
        raise Refusal(404, str(error), code="file_not_found", param="input_file_id") from None
    if file.purpose != files_store.BATCH:
        raise fields.wrong(f"file {file_id!r} was not uploaded for a batch", "input_file_id")


def _metadata(value: object) -> dict[str, str]:
    found = fields.record({} if value is None else value, "metadata")
    if len(found) > MOST_PAIRS:
        raise fields.wrong(f"'metadata' has {MOST_PAIRS} keys at most", "metadata")
    for name, each in found.items():
        text = fields.text(each, f"metadata.{name}")
        if len(name) > LONGEST_KEY or len(text) > LONGEST_VALUE:
            raise fields.wrong(f"keys have {LONGEST_KEY} letters at most, values {LONGEST_VALUE}", f"metadata.{name}")
    return found


_ASK = schemas.body(
    {"input_file_id": schemas.TEXT, "endpoint": {"enum": list(ENDPOINTS)}, "completion_window": {"const": "24h"}},
    {"metadata": {"type": "object", "additionalProperties": schemas.TEXT, "maxProperties": MOST_PAIRS}},
)
_PAGE = {name: schemas.PAGE[name] for name in ("limit", "after")}
_ONE = "/v1/batches/{id}"
ROUTES = (
    Route(path="/v1/batches", method="POST", answer=create, scope="ask", summary="Begin a batch", request=_ASK),
    Route(path="/v1/batches", method="GET", answer=listed, scope="look", summary="List batches", query=_PAGE),
    Route(path=_ONE, method="GET", answer=show, scope="look", summary="Show a batch"),
    Route(path=f"{_ONE}/cancel", method="POST", answer=cancel, scope="ask", summary="End a batch"),
)

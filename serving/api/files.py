"""The routes of OpenAI's files: uploaded for a batch, listed, read, deleted. Each token sees its own."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import IO, Any

from serving.admission import Gone
from serving.api import fields, files_store, pages, schemas
from serving.api.files_store import BATCH, BATCH_OUTPUT, StoredFile
from serving.api.uploads import uploaded
from serving.call import headers_of
from serving.table import Route
from serving.visit import Visit

PIECE = 1 << 20  # bytes that are read at a time
_FIELDS = ("file", "purpose")


async def create(visit: Visit) -> None:
    """Keep a file that is uploaded."""
    try:
        async with uploaded(visit, largest=visit.house.limits.file) as form:
            for name in form.values:
                if name not in _FIELDS:
                    raise fields.unsupported(f"{name!r}", name)
            purpose = fields.text(fields.required(form.values.get("purpose"), "purpose"), "purpose")
            if purpose != BATCH:
                raise fields.wrong(f"files are kept for the purpose {BATCH!r} only, not {purpose!r}", "purpose")
            workspace, token = visit.house.workspace, visit.call.token_id
            file = await asyncio.to_thread(
                files_store.put, workspace, token, form.path, filename=form.filename, purpose=purpose
            )
    except Gone:
        return  # nobody is left who would hear of it
    await visit.answer(file.described())


async def listed(visit: Visit) -> None:
    """List files, the newest first unless asked otherwise."""
    query = pages.asked(visit)
    order = fields.member(query.get("order", "desc"), "order", ("asc", "desc"))
    purpose = query.get("purpose", "")
    found = await asyncio.to_thread(
        files_store.listed,
        visit.house.workspace,
        visit.call.token_id,
        purpose=purpose,
        newest_first=order == "desc",
    )
    await visit.answer(pages.page([file.described() for file in found], query, usual=10_000, most=10_000))


async def show(visit: Visit) -> None:
    """Show one file, without its content."""
    await visit.answer((await _file(visit)).described())


async def content(visit: Visit) -> None:
    """Give the bytes of a file, a piece at a time."""
    file = await _file(visit)
    path = files_store.path(visit.house.workspace, file)
    visit.call.begun = visit.call.answered = True
    with await asyncio.to_thread(path.open, "rb") as bytes_of:
        headers = [
            *headers_of(visit.call),
            (b"content-type", b"application/octet-stream"),
            (b"content-length", b"%d" % file.size),
        ]
        await visit.send({"type": "http.response.start", "status": 200, "headers": headers})
        await _sent(visit, bytes_of)


async def drop(visit: Visit) -> None:
    """Delete a file."""
    name = visit.values["id"]
    await asyncio.to_thread(files_store.remove, visit.house.workspace, visit.call.token_id, name)
    await visit.answer({"id": name, "object": "file", "deleted": True})


async def _sent(visit: Visit, bytes_of: IO[bytes]) -> None:
    while piece := await asyncio.to_thread(bytes_of.read, PIECE):
        await visit.send({"type": "http.response.body", "body": piece, "more_body": True})
    await visit.send({"type": "http.response.body", "body": b""})


async def _file(visit: Visit) -> StoredFile:
    return await asyncio.to_thread(files_store.get, visit.house.workspace, visit.call.token_id, visit.values["id"])


_PAGE: Mapping[str, Mapping[str, Any]] = {
    "purpose": {"enum": [BATCH, BATCH_OUTPUT]},
    "limit": {"type": "integer", "minimum": 1, "maximum": 10_000},
    "order": {"enum": ["asc", "desc"]},
    "after": schemas.TEXT,
}
_ONE = "/v1/files/{id}"
ROUTES = (
    Route(path="/v1/files", method="POST", answer=create, scope="ask", summary="Upload a file, as a form"),
    Route(path="/v1/files", method="GET", answer=listed, scope="look", summary="List files", query=_PAGE),
    Route(path=_ONE, method="GET", answer=show, scope="look", summary="Show a file"),
    Route(path=_ONE, method="DELETE", answer=drop, scope="ask", summary="Delete a file"),
    Route(path=f"{_ONE}/content", method="GET", answer=content, scope="look", summary="Give the bytes of a file"),
)

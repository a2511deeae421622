"""A form with a file in it, read piece by piece to the disk: no part of it is larger than allowed."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from serving.admission import Gone
from serving.api import fields
from serving.openai_errors import Refusal
from serving.visit import Visit

MOST_FIELDS = 20
LARGEST_FIELD = 65_536  # bytes
FORM = 1_000_000  # bytes that a form may have beside its file


@dataclass(frozen=True, slots=True)
class Uploaded:
    """The file of a form, at `path` for as long as it is looked at, and the fields beside it."""

    path: Path
    filename: str
    values: dict[str, str]


@asynccontextmanager
async def uploaded(visit: Visit, *, largest: int) -> AsyncIterator[Uploaded]:
    """Read a form whose field `file` is a file of at most `largest` bytes."""
    headers = Headers(raw=list(visit.headers.items()))
    kind = headers.get("content-type", "")
    if not kind.lower().startswith("multipart/form-data"):
        raise Refusal(415, "the body must be a form: content-type multipart/form-data", code="unsupported_media_type")
    stream = _pieces(visit, largest + FORM)
    parser = MultiPartParser(headers, stream, max_files=1, max_fields=MOST_FIELDS, max_part_size=LARGEST_FIELD)
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError, LookupError) as error:
        words = getattr(error, "message", "") or "it has no boundary, or an unknown charset"
        raise Refusal(400, f"the form cannot be read: {words}", code="invalid_form") from None
    try:
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise fields.wrong("'file' is missing", "file", code="missing_required_parameter")
        if (file.size or 0) > largest:
            raise _too_large(largest)
        values = {name: value for name, value in form.multi_items() if isinstance(value, str)}
        with TemporaryDirectory(dir=visit.house.workspace.home, prefix="upload-") as folder:
            path = Path(folder) / "content"
            await asyncio.to_thread(_copy, file, path)
            yield Uploaded(path, Path(file.filename or "file").name, values)
    finally:
        await form.close()


async def _pieces(visit: Visit, most: int) -> AsyncGenerator[bytes, None]:
    stated = visit.headers.get(b"content-length", b"0")
    if stated.isdigit() and int(stated) > most:
        raise _too_large(most - FORM)
    size = 0
    while True:
        message = await visit.receive()
        if message["type"] == "http.disconnect":
            raise Gone
        piece = message.get("body", b"")
        size += len(piece)
        if size > most:
            raise _too_large(most - FORM)
        yield piece
        if not message.get("more_body"):
            return


def _copy(file: UploadFile, path: Path) -> None:
    file.file.seek(0)
    with path.open("wb") as out:
        shutil.copyfileobj(file.file, out, 1 << 20)


def _too_large(largest: int) -> Refusal:
    message = f"a file may have {largest:,} bytes at most"
    return Refusal(413, message, code="file_too_large", param="file", headers={"connection": "close"})

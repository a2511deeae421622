"""Files that clients upload and batches write: a row each for the token it belongs to, the bytes by their digest."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Row, delete, insert, select

from workspace.errors import NotFound
from workspace.home import Workspace
from workspace.tables import files

BATCH, BATCH_OUTPUT = "batch", "batch_output"  # purposes
_ID = re.compile(r"file-[0-9a-f]{32}")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """One file of one token."""

    id: str
    filename: str
    purpose: str
    digest: str
    size: int
    created_at: float

    def described(self) -> dict[str, Any]:
        """Return it as OpenAI does."""
        return {
            "id": self.id,
            "object": "file",
            "bytes": self.size,
            "created_at": int(self.created_at),
            "filename": self.filename,
            "purpose": self.purpose,
            "status": "processed",
        }


def row_of(workspace: Workspace, token: str, content: Path, *, filename: str, purpose: str) -> dict[str, Any]:
    """Keep the bytes of a file, which may be consumed, and return the row that makes it the token's."""
    blob = workspace.blobs.add(content, share=True)
    return {
        "id": f"file-{secrets.token_hex(16)}",
        "token_id": token,
        "filename": filename[:255],
        "purpose": purpose,
        "digest": blob.digest,
        "size": blob.size,
        "created_at": time.time(),
    }


def put(workspace: Workspace, token: str, content: Path, *, filename: str, purpose: str) -> StoredFile:
    """Keep a file; its bytes are there once however often they come."""
    row = row_of(workspace, token, content, filename=filename, purpose=purpose)
    with workspace.database.write() as connection:
        connection.execute(insert(files).values(**row))
    return get(workspace, token, row["id"])


def get(workspace: Workspace, token: str, identifier: str) -> StoredFile:
    """Return a file of this token; of anybody else's it is not told that it exists."""
    with workspace.database.read() as connection:
        row = connection.execute(select(files).filter_by(id=identifier, token_id=token)).first()
    if row is None or not _ID.fullmatch(identifier):
        raise _missing(identifier)
    return _file(row)


def listed(workspace: Workspace, token: str, *, purpose: str = "", newest_first: bool = True) -> Sequence[StoredFile]:
    """Return the files of a token."""
    order = files.c.created_at.desc() if newest_first else files.c.created_at
    query = select(files).filter_by(token_id=token).order_by(order, files.c.id)
    if purpose:
        query = query.filter_by(purpose=purpose)
    with workspace.database.read() as connection:
        return [_file(row) for row in connection.execute(query)]


def remove(workspace: Workspace, token: str, identifier: str) -> None:
    """Take a file from its token; its bytes stay as long as something else may be made of them."""
    with workspace.database.write() as connection:
        if not connection.execute(delete(files).filter_by(id=identifier, token_id=token)).rowcount:
            raise _missing(identifier)


def path(workspace: Workspace, file: StoredFile) -> Path:
    """Return where its bytes are, for reading."""
    return workspace.blobs.path(file.digest)


def _missing(identifier: str) -> NotFound:
    return NotFound(f"no file {identifier!r}", hint="it was deleted, or is not this token's")


def _file(row: Row[Any]) -> StoredFile:
    return StoredFile(
        id=row.id,
        filename=row.filename,
        purpose=row.purpose,
        digest=row.digest,
        size=row.size,
        created_at=row.created_at,
    )

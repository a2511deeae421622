"""Responses that are kept, each for the token that asked for it, and the conversations that they continue."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select

from workspace.errors import NotFound
from workspace.home import Workspace
from workspace.tables import responses

LONGEST = 1_000  # responses in a conversation
KEPT = 30 * 86_400.0  # seconds, as at OpenAI
_ID = re.compile(r"resp_[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Stored:
    """A response as it was answered, and every item that it answered, those of the responses before it first."""

    response: Mapping[str, Any]
    items: Sequence[Mapping[str, Any]]

    @property
    def conversation(self) -> list[Mapping[str, Any]]:
        """What the next response has before its own items."""
        return [*self.items, *self.response["output"]]


def put(workspace: Workspace, token: str, response: Mapping[str, Any], items: Sequence[Mapping[str, Any]]) -> None:
    """Keep a response and its own input items for thirty days; those that are older go."""
    now = time.time()
    row = {
        "id": response["id"],
        "token_id": token,
        "model": response["model"],
        "previous_id": response["previous_response_id"],
        "input": list(items),
        "response": dict(response),
        "created_at": now,
    }
    with workspace.database.write(durable=False) as connection:
        connection.execute(delete(responses).where(responses.c.created_at < now - KEPT))
        connection.execute(insert(responses).values(**row))


def get(workspace: Workspace, token: str, identifier: str) -> Stored:
    """Return a response of this token; of anybody else's it is not told that it exists."""
    with workspace.database.read() as connection:
        row = _row(connection, token, identifier)
        chain = [row]
        while chain[-1].previous_id and len(chain) < LONGEST:
            chain.append(_row(connection, token, chain[-1].previous_id))
    items: list[Mapping[str, Any]] = []
    for earlier in reversed(chain[1:]):
        items += [*earlier.input, *earlier.response["output"]]
    return Stored(row.response, [*items, *row.input])


def remove(workspace: Workspace, token: str, identifier: str) -> None:
    """Remove a response; a conversation that goes on from it can no longer be continued."""
    with workspace.database.write() as connection:
        _row(connection, token, identifier)
        connection.execute(delete(responses).filter_by(id=identifier))


def _row(connection: Connection, token: str, identifier: str) -> Row[Any]:
    statement = select(responses).filter_by(id=identifier, token_id=token)
    row = connection.execute(statement).first() if _ID.fullmatch(identifier) else None
    if row is None:
        raise NotFound(f"no response {identifier!r}", hint="it was not stored, was deleted, or is not this token's")
    return row

"""Answers that are told again to the same Idempotency-Key: a small database of their own, which may be deleted at will.

Beside the workspace's and not in it: bodies of megabytes must not make its writers wait.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from sqlalchemy import (
    JSON,
    Column,
    Connection,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    delete,
    func,
    insert,
    select,
)

from workspace.database import Database, sqlite_url

_metadata = MetaData()
_replays = Table(
    "replays",
    _metadata,
    Column("token_id", String(16), primary_key=True),
    Column("key", String(64), primary_key=True),  # SHA-256: what clients call their requests may say something
    Column("digest", String(64), nullable=False),  # of the request
    Column("at", Float, nullable=False),  # UTC seconds
    Column("status", Integer, nullable=False),
    Column("headers", JSON, nullable=False),
    Column("size", Integer, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Index("ix_replays_at_size", "at", "size"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How long and how many answers are kept; beyond that the oldest go."""

    seconds: float = 86_400.0
    entries: int = 10_000
    size: int = 64_000_000  # bytes of all bodies


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """An answer, and the digest of the request that it was given to."""

    digest: str
    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes

    @property
    def kind(self) -> str:
        """The content type."""
        return next((value for name, value in self.headers if name == "content-type"), "")

    @property
    def told(self) -> dict[str, str]:
        """The headers that say who gave the answer, and that it was given before."""
        found = {name: value for name, value in self.headers if name != "content-type"}
        return {**found, "idempotent-replayed": "true"}


class ReplayStore:
    """The answers in one file, by token and key; processes may share it."""

    def __init__(self, path: Path, bounds: Bounds) -> None:
        self.path = path
        self.bounds = bounds
        self._database: Database | None = None
        self._opening = Lock()

    def get(self, token_id: str, key: str, *, now: float) -> Kept | None:
        """Return the answer to a key, None where there is none of the last day."""
        if self._database is None and not self.path.exists():
            return None
        found = select(_replays).filter_by(token_id=token_id, key=key)
        with self._opened().read() as connection:
            row = connection.execute(found.where(_replays.c.at > now - self.bounds.seconds)).first()
        if row is None:
            return None
        headers = [(name, value) for name, value in row.headers]
        return Kept(digest=row.digest, status=row.status, headers=headers, body=row.body)

    def put(self, token_id: str, key: str, kept: Kept, *, now: float) -> None:
        """Keep an answer; one that is larger than all may be together is not kept."""
        if len(kept.body) > self.bounds.size:
            return
        row = {"token_id": token_id, "key": key, "digest": kept.digest, "at": now, "status": kept.status}
        row |= {"headers": [list(each) for each in kept.headers], "size": len(kept.body), "body": kept.body}
        with self._opened().write(durable=False) as connection:
            connection.execute(insert(_replays).prefix_with("OR REPLACE").values(**row))
            self._tidied(connection, now)

    def tidy(self, *, now: float) -> None:
        """Remove what is older than a day."""
        if self._database is not None or self.path.exists():
            with self._opened().write(durable=False) as connection:
                self._tidied(connection, now)

    def close(self) -> None:
        """Close the file."""
        if self._database is not None:
            self._database.close()

    def _tidied(self, connection: Connection, now: float) -> None:
        """Remove what is older than a day; the oldest too where it is too much, some more so that it is rare."""
        age, size = _replays.c.at, _replays.c.size  # an index has both
        connection.execute(delete(_replays).where(age <= now - self.bounds.seconds))
        entries, total = connection.execute(select(func.count(), func.coalesce(func.sum(size), 0))).one()
        if entries <= self.bounds.entries and total <= self.bounds.size:
            return
        until = 0.0
        for row in connection.execute(select(age, size).order_by(age)):
            entries, total, until = entries - 1, total - row.size, row.at
            if entries <= 0.9 * self.bounds.entries and total <= 0.9 * self.bounds.size:
                break
        connection.execute(delete(_replays).where(age <= until))

    def _opened(self) -> Database:
        with self._opening:
            if self._database is None:
                database = Database(sqlite_url(self.path))
                with database.write(durable=False) as connection:
                    _metadata.create_all(connection)
                self._database = database
        return self._database

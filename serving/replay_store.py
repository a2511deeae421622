"""Answers that are told again to the same Idempotency-Key: a small database of their own, which may be deleted at will.

Beside the workspace's and not in it: bodies of megabytes must not make its writers wait.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TypeVar

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
    text,
)

from workspace.database import Database, sqlite_url
from workspace.errors import Damaged
from workspace.paths import locked

log = logging.getLogger(__name__)

T = TypeVar("T")

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
        found = select(_replays).filter_by(token_id=token_id, key=key).where(_replays.c.at > now - self.bounds.seconds)

        def look(database: Database) -> Kept | None:
            with database.read() as connection:
                row = connection.execute(found).first()
            if row is None:
                return None
            headers = [(name, value) for name, value in row.headers]
            return Kept(digest=row.digest, status=row.status, headers=headers, body=row.body)

        return self._with(look)

    def put(self, token_id: str, key: str, kept: Kept, *, now: float) -> None:
        """Keep an answer; one that is larger than all may be together is not kept."""
        if len(kept.body) > self.bounds.size:
            return
        row = {"token_id": token_id, "key": key, "digest": kept.digest, "at": now, "status": kept.status}
        row |= {"headers": [list(each) for each in kept.headers], "size": len(kept.body), "body": kept.body}

        def keep(database: Database) -> None:
            with database.write(durable=False) as connection:
                connection.execute(insert(_replays).prefix_with("OR REPLACE").values(**row))
                self._tidied(connection, now)

        self._with(keep)

    def tidy(self, *, now: float) -> None:
        """Remove what is older than a day."""

        def tidied(database: Database) -> None:
            with database.write(durable=False) as connection:
                self._tidied(connection, now)

        if self._database is not None or self.path.exists():
            self._with(tidied)

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

    def _with(self, work: Callable[[Database], T]) -> T:
        """Do something with the file. One that is damaged is set aside and begun anew: it only spares work."""
        try:
            return work(self._opened())
        except Damaged as error:
            self._set_aside(error)
        return work(self._opened())

    def _opened(self) -> Database:
        with self._opening:
            if self._database is None:
                database = Database(sqlite_url(self.path))
                with database.write(durable=False) as connection:
                    _metadata.create_all(connection)
                self._database = database
        return self._database

    def _set_aside(self, error: Damaged) -> None:
        """Move the file away, if nobody else, a thread or another gateway, has done so since it was found damaged."""
        with self._opening, locked(self.path.with_name(f"{self.path.name}.lock")):
            if self._database is not None:
                self._database.close()
                self._database = None
            if not self.path.exists() or _is_whole(self.path):
                return
            aside = self.path.with_name(f"{self.path.name}.damaged")
            self.path.replace(aside)
            for rest in ("-wal", "-shm"):
                self.path.with_name(self.path.name + rest).unlink(missing_ok=True)
        log.error("%s: it is %s now, and answers to Idempotency-Keys are kept anew", error, aside.name)


def _is_whole(path: Path) -> bool:
    database = Database(sqlite_url(path))
    try:
        with database.read() as connection:
            return connection.execute(text("PRAGMA integrity_check")).scalar() == "ok"
    except Damaged:
        return False
    finally:
        database.close()

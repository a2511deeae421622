"""The system of record for processes that must start in milliseconds: SQL as text, without SQLAlchemy's quarter second.

The schema is that of `workspace/tables.py`; both doors may be open at once, in one process or in many.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import random
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

from workspace.errors import Damaged, Invalid, MissingExtra, Unavailable
from workspace.filesystems import is_full
from workspace.settings import Settings

DATABASE = "studiolo.db"
HEAD = "0004"  # the newest revision of the schema
PATIENCE = 30.0  # seconds that a writer waits for the others
_NAMED = re.compile(r"(?<![:\w]):([a-z_][a-z0-9_]*)")

_PASSING = frozenset({"40001", "40P01"})  # PostgreSQL: serialization failure, deadlock

Row = dict[str, Any]
T = TypeVar("T")


class Records(Protocol):
    """What can be asked: `:name` in the text stands for the value of that name, on SQLite and PostgreSQL alike."""

    def rows(self, sql: str, **values: Any) -> list[Row]:
        """Return what a SELECT finds."""
        ...


@runtime_checkable
class Statements(Records, Protocol):
    """A transaction, in which can be written too."""

    def change(self, sql: str, **values: Any) -> int:
        """Return how many rows a statement has changed."""
        ...

    def change_many(self, sql: str, rows: Sequence[Row]) -> int:
        """Return how many rows a statement has changed that is done once for each row of values."""
        ...

    def hold(self, subject: str) -> None:
        """Make other writers of `subject` wait until this transaction ends; SQLite has one writer anyway."""
        ...


class LightDatabase:
    """One connection, made on first use and never carried over a fork; threads take turns."""

    def __init__(self, home: Path, url: str = "", *, patience: float = PATIENCE) -> None:
        self.path = home / DATABASE
        self.url = url
        self.patience = patience
        self._lock = threading.RLock()
        self._connection: _SQLite | _Postgres | None = None
        self._pid = os.getpid()
        self._inherited: list[Any] = []

    @classmethod
    def of(cls, settings: Settings) -> LightDatabase:
        """Return the database of a workspace; its tables must be there."""
        return cls(settings.home, settings.database_url)

    @property
    def is_sqlite(self) -> bool:
        """Whether this is a file of this machine; else it is a PostgreSQL server."""
        return not self.url

    def rows(self, sql: str, **values: Any) -> list[Row]:
        """Return what a SELECT finds, in a look of its own."""
        with self._explained():
            return self._open().rows(sql, values)

    @contextmanager
    def write(self, *, durable: bool = True, hold: tuple[str, ...] = ()) -> Iterator[Statements]:
        """Open a transaction that is committed at the end, or rolled back by any exception.

        A durable one survives a power cut. Those that hold a same subject come one after the other.
        """
        with self._explained(), self._open().transaction(durable) as statements:
            for subject in hold:
                statements.hold(subject)
            yield statements

    def transact(self, work: Callable[[Statements], T], *, durable: bool = True, hold: tuple[str, ...] = ()) -> T:
        """Return `work(statements)` done in one write, done again where the database asks for it (a deadlock)."""
        deadline = time.monotonic() + self.patience
        while True:
            try:
                with self.write(durable=durable, hold=hold) as statements:
                    return work(statements)
            except Unavailable as error:
                if getattr(error.__cause__, "sqlstate", None) not in _PASSING or time.monotonic() > deadline:
                    raise
                time.sleep(random.uniform(0.001, 0.05))  # noqa: S311  a pause, no secret

    def revision(self) -> str | None:
        """Return the revision of the schema, None where there is none yet."""
        if not self.rows("SELECT name FROM sqlite_master WHERE name = 'alembic_version'"):
            return None
        return next((row["version_num"] for row in self.rows("SELECT version_num FROM alembic_version")), None)

    def close(self) -> None:
        """Close the connection; the next use opens another one."""
        with self._lock:
            if self._connection is not None and self._pid == os.getpid():
                self._connection.close()
            self._connection = None

    def _open(self) -> _SQLite | _Postgres:
        if self._pid != os.getpid():
            # SQLite forbids even closing a connection that was inherited over a fork: keep it, untouched.
            self._inherited.append(self._connection)
            self._connection, self._pid = None, os.getpid()
        if self._connection is None:
            self._connection = _SQLite(self.path, self.patience) if self.is_sqlite else _Postgres(self.url)
        return self._connection

    @contextmanager
    def _explained(self) -> Iterator[None]:
        with self._lock:
            try:
                yield
            except sqlite3.Error as error:
                if trouble := sqlite_trouble(error, self.path):
                    raise trouble from error
                raise
            except Unavailable:
                self.close()  # the next use tries again with a new one
                raise


class SqliteStatements:
    """The transaction of a raw connection to SQLite."""

    def __init__(self, raw: sqlite3.Connection) -> None:
        self._raw = raw

    def rows(self, sql: str, **values: Any) -> list[Row]:
        found = self._raw.execute(sql, values)
        names = [column[0] for column in found.description]
        return [dict(zip(names, row, strict=True)) for row in found]

    def change(self, sql: str, **values: Any) -> int:
        return self._raw.execute(sql, values).rowcount

    def change_many(self, sql: str, rows: Sequence[Row]) -> int:
        return self._raw.executemany(sql, rows).rowcount if rows else 0

    def hold(self, subject: str) -> None:
        """Nothing to do: who may write is alone."""


class PostgresStatements:
    """The transaction of a raw connection to PostgreSQL."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw

    def rows(self, sql: str, **values: Any) -> list[Row]:
        with self._raw.cursor() as cursor:
            cursor.execute(_NAMED.sub(r"%(\1)s", sql), values)
            names = [column.name for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor]

    def change(self, sql: str, **values: Any) -> int:
        with self._raw.cursor() as cursor:
            cursor.execute(_NAMED.sub(r"%(\1)s", sql), values)
            return int(cursor.rowcount)

    def change_many(self, sql: str, rows: Sequence[Row]) -> int:
        if not rows:
            return 0
        with self._raw.cursor() as cursor:
            cursor.executemany(_NAMED.sub(r"%(\1)s", sql), rows)
            return int(cursor.rowcount)

    def hold(self, subject: str) -> None:
        self.rows("SELECT pg_advisory_xact_lock(:number)", number=lock_number(subject))


class _SQLite:
    def __init__(self, path: Path, patience: float) -> None:
        self._raw = sqlite3.connect(path, timeout=patience, isolation_level=None, check_same_thread=False)
        self._raw.execute("PRAGMA journal_mode=WAL")
        self._raw.execute("PRAGMA foreign_keys=ON")
        self._durable: bool | None = None
        self.statements: Statements = SqliteStatements(self._raw)

    def rows(self, sql: str, values: Row) -> list[Row]:
        return self.statements.rows(sql, **values)

    @contextmanager
    def transaction(self, durable: bool) -> Iterator[Statements]:
        if self._durable is not durable:
            self._raw.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
            self._durable = durable
        self._raw.execute("BEGIN IMMEDIATE")
        try:
            yield self.statements
            self._raw.execute("COMMIT")
        except BaseException:
            if self._raw.in_transaction:
                self._raw.execute("ROLLBACK")
            raise

    def close(self) -> None:
        self._raw.close()


class _Postgres:
    def __init__(self, url: str) -> None:
        try:
            import psycopg
        except ImportError:
            raise MissingExtra("PostgreSQL needs its driver", hint="pip install 'studiolo[postgres]'") from None
        self._error: type[Exception] = psycopg.Error
        self._mistakes: tuple[type[Exception], ...] = ()
        with self._explained():
            self._raw: Any = psycopg.connect(_libpq(url), autocommit=True, connect_timeout=10)
        self._mistakes = (psycopg.DataError, psycopg.ProgrammingError)  # from here on they are ours
        self.statements: Statements = PostgresStatements(self._raw)

    def rows(self, sql: str, values: Row) -> list[Row]:
        with self._explained():
            return self.statements.rows(sql, **values)

    @contextmanager
    def transaction(self, _durable: bool) -> Iterator[Statements]:
        with self._explained(), self._raw.transaction():
            yield self.statements

    def close(self) -> None:
        self._raw.close()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except self._error as error:
            state = getattr(error, "sqlstate", None)
            if state is None:
                is_ours = isinstance(error, self._mistakes)  # the driver itself has noticed it
            else:
                is_ours = not state.startswith(("08", "57P", "28", "3D", "40", "53"))
            if is_ours:
                raise
            reason = (str(error).strip().splitlines() or ["no answer"])[0]
            hint = "is the server running, STUDIOLO_DATABASE_URL right?"
            raise Unavailable(f"the database does not do its work: {reason}", hint=hint) from error


def lock_number(subject: str) -> int:
    """Return the number under which PostgreSQL locks a subject."""
    return int.from_bytes(hashlib.sha256(subject.encode()).digest()[:8], signed=True)


def from_json(value: Any) -> Any:
    """Return a JSON column: PostgreSQL's driver has read it already."""
    return json.loads(value) if isinstance(value, str) else value


def number(value: float | None) -> float:
    """Return a metric as it was logged: the database keeps "not a number" as nothing."""
    return math.nan if value is None else value


def to_json(value: Any) -> str:
    """Return what a JSON column is given."""
    return json.dumps(value, separators=(",", ":"))


_SQLITE_REASONS = {
    "SQLITE_BUSY": ("other processes kept it busy too long", "try again; `studiolo status` shows who is at work"),
    "SQLITE_FULL": ("the disk is full", "free some space and try again: nothing that was written is lost"),
    "SQLITE_IOERR": ("the disk gave an error", "run `studiolo doctor`"),
    "SQLITE_CANTOPEN": ("it cannot be opened", "run `studiolo doctor`"),
    "SQLITE_READONLY": ("it may not be written to", "run `studiolo doctor`"),
    "SQLITE_CORRUPT": ("its content is damaged", "restore a backup; `studiolo doctor` tells more"),
    "SQLITE_NOTADB": ("it is not a database", "is STUDIOLO_HOME right? else restore a backup"),
}
_DAMAGE = ("SQLITE_CORRUPT", "SQLITE_NOTADB")


def sqlite_trouble(error: BaseException, path: Path) -> Unavailable | None:
    """Return what an error of SQLite means to a person, or None where it is a bug."""
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith("SQLITE_IOERR") and is_full(path.parent):
        name = "SQLITE_FULL"
    for prefix, (what, hint) in _SQLITE_REASONS.items():
        if name.startswith(prefix):
            kind = Damaged if prefix in _DAMAGE else Unavailable
            return kind(f"the workspace database {path}: {what}", hint=hint)
    return None


def _libpq(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    if not separator or scheme.partition("+")[0] not in ("postgresql", "postgres"):
        raise Invalid("the database URL cannot be read", hint="postgresql+psycopg://user:password@host/name")
    return f"postgresql://{rest}"

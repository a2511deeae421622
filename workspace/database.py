"""The system of record on SQLite or PostgreSQL: one door for reading and one for writing, safe for many processes."""

from __future__ import annotations

import hashlib
import os
import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Engine, Pool, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, OperationalError

from workspace.errors import Damaged, Invalid, MissingExtra, StudioloError, Unavailable
from workspace.filesystems import is_full, is_network

PATIENCE = 30.0  # seconds that a writer waits for the others
_DURABILITY = "studiolo_durability"  # execution option of a write: FULL or NORMAL
_PASSING = frozenset({"40001", "40P01"})  # PostgreSQL: serialization failure, deadlock

T = TypeVar("T")


class Database:
    """Connections to one database, made on first use and never carried over a fork."""

    def __init__(self, url: str | URL, *, patience: float = PATIENCE) -> None:
        self.url = _checked(url)
        self.patience = patience
        self.engine: Engine = _sqlite(self.url, patience) if self.is_sqlite else _postgres(self.url)
        self._pid = os.getpid()
        self._inherited: list[Pool] = []

    @property
    def is_sqlite(self) -> bool:
        """Whether this is a file of this machine; else it is a PostgreSQL server."""
        return self.url.get_backend_name() == "sqlite"

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open one consistent look at the data; it neither waits for writers nor stops them."""
        with self._explained(), self._own_engine().connect() as connection:
            yield connection

    @contextmanager
    def write(self, *, durable: bool = True) -> Iterator[Connection]:
        """Open a transaction that is committed at the end, or rolled back by any exception.

        Returned from means kept: a durable write survives a power cut, one that is not survives a crash of the
        process. Never call user code or the network inside: on SQLite all other writers wait.
        """
        with self._explained(), self._transaction(durable) as connection:
            yield connection

    def transact(self, work: Callable[[Connection], T], *, durable: bool = True) -> T:
        """Return `work(connection)` done in one write, done again where the database asks for it (a deadlock)."""
        deadline = time.monotonic() + self.patience
        while True:
            try:
                with self._transaction(durable) as connection:
                    return work(connection)
            except DBAPIError as error:
                if not _will_pass(error) or time.monotonic() > deadline:
                    raise _explanation(error, self.url) or error from error
                time.sleep(random.uniform(0.001, 0.05))  # noqa: S311  a pause, no secret

    def hold(self, connection: Connection, subject: str) -> None:
        """Make other writers of `subject` wait until this transaction ends; SQLite has one writer anyway."""
        if not self.is_sqlite:
            number = int.from_bytes(hashlib.sha256(subject.encode()).digest()[:8], signed=True)
            connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": number})

    def close(self) -> None:
        """Close the connections; the next use opens new ones."""
        self._own_engine().dispose()

    @contextmanager
    def _transaction(self, durable: bool) -> Iterator[Connection]:
        option = {_DURABILITY: "FULL" if durable else "NORMAL"}
        with self._own_engine().connect().execution_options(**option) as connection, connection.begin():
            yield connection

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            if explanation := _explanation(error, self.url):
                raise explanation from error
            raise

    def _own_engine(self) -> Engine:
        if self._pid != os.getpid():
            # SQLite forbids even closing a connection that was inherited over a fork: keep it, untouched.
            self._inherited.append(self.engine.pool)
            self.engine.dispose(close=False)
            self._pid = os.getpid()
        return self.engine


def sqlite_url(path: Path) -> URL:
    """Return the URL of a SQLite file."""
    return URL.create("sqlite", database=str(path))


def _checked(url: str | URL) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise Invalid("the database URL cannot be read", hint="postgresql+psycopg://user:password@host/name") from None
    if parsed.drivername in ("postgres", "postgresql"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername not in ("sqlite", "postgresql+psycopg"):
        raise Invalid(
            f"no database of kind {parsed.drivername!r}", hint="SQLite (a folder) or postgresql+psycopg://host/name"
        )
    return parsed


def _sqlite(url: URL, patience: float) -> Engine:
    path = Path(url.database or "")
    if is_network(path.parent):
        raise Invalid(
            f"{path.parent} is on a network file system, where SQLite's write-ahead log would be damaged",
            hint="put STUDIOLO_HOME on a local disk, or the records in PostgreSQL: STUDIOLO_DATABASE_URL=postgresql+psycopg://…",
        )
    # Readable by others at no moment: SQLite gives its -wal and -shm files the mode of the file itself.
    # A file that is there is not opened: closing it would drop the locks of SQLite's connections in this process, and
    # another process that closes its own would take itself for the last one and delete the log under them.
    with _readable_disk(path), suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    engine = create_engine(url, connect_args={"timeout": patience}, max_overflow=50)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _postgres(url: URL) -> Engine:
    try:
        return create_engine(url, pool_pre_ping=True, connect_args={"connect_timeout": 10})
    except (ImportError, NoSuchModuleError):
        raise MissingExtra("PostgreSQL needs its driver", hint="pip install 'studiolo[postgres]'") from None


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA foreign_keys=ON")


def _begin_sqlite(connection: Connection) -> None:
    durability = connection.get_execution_options().get(_DURABILITY)
    if durability is None:
        connection.exec_driver_sql("BEGIN")
        return
    # IMMEDIATE: a transaction that reads first and writes later would fail at once instead of waiting.
    connection.exec_driver_sql(f"PRAGMA synchronous={durability}")
    connection.exec_driver_sql("BEGIN IMMEDIATE")


@contextmanager
def _readable_disk(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unavailable(f"cannot open {path}: {error.strerror}", hint="run `studiolo doctor`") from error


def _will_pass(error: DBAPIError) -> bool:
    code = getattr(error.orig, "sqlite_errorname", "")
    return code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")) or getattr(error.orig, "sqlstate", None) in _PASSING


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


def _explanation(error: DBAPIError, url: URL) -> StudioloError | None:
    cause: Any = error.orig
    if name := getattr(cause, "sqlite_errorname", None):
        if name.startswith("SQLITE_IOERR") and is_full(Path(url.database or "").parent):
            name = "SQLITE_FULL"
        for prefix, (what, hint) in _SQLITE_REASONS.items():
            if name.startswith(prefix):
                kind = Damaged if prefix in _DAMAGE else Unavailable
                return kind(f"the workspace database {url.database}: {what}", hint=hint)
        return None
    shown = url.render_as_string(hide_password=True)
    state = getattr(cause, "sqlstate", None)
    if state == "53100":
        return Unavailable(f"the disk of {shown} is full", hint="free some space and try again")
    if state in _PASSING:
        return Unavailable(f"other writers of {shown} came first, many times", hint="try again")
    if isinstance(error, OperationalError) and (state is None or state.startswith(("08", "57P", "28", "3D"))):
        reason = str(cause).strip().splitlines()[0] if str(cause).strip() else "no answer"
        return Unavailable(f"cannot reach the database {shown}: {reason}", hint="is the server running, the URL right?")
    return None

"""What a sync has fetched so far: pages lie in a file of their own, with the cursor, until they are published.

A page and the cursor that comes after it are one transaction, so a killed sync goes on where it was.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from catalog.index.listed import Listed
from workspace.errors import Unavailable
from workspace.paths import locked

if TYPE_CHECKING:
    import duckdb

FILE = "arriving.duckdb"
_LOCK = "catalog-sync.lock"
_MOMENT = 0.5  # seconds to wait for another sync
_HEADERS = 3 * 4096  # bytes that every DuckDB file begins with
# No extension is fetched or loaded; what does not fit into memory goes to disk.
CLOSED = {"autoinstall_known_extensions": False, "autoload_known_extensions": False, "memory_limit": "384MB"}
_COLUMNS = {
    "key": "VARCHAR", "id": "VARCHAR", "sha": "VARCHAR", "task": "VARCHAR", "library": "VARCHAR", "license": "VARCHAR",
    "type": "VARCHAR", "precision": "VARCHAR", "base": "VARCHAR", "relation": "VARCHAR", "downloads": "UBIGINT",
    "likes": "UINTEGER", "trending": "UINTEGER", "created": "UINTEGER", "modified": "UINTEGER", "gated": "UTINYINT",
    "parameters": "UBIGINT", "weights": "UBIGINT", "context": "UINTEGER", "input_price": "DOUBLE",
    "output_price": "DOUBLE", "formats": "VARCHAR[]",
    "languages": "VARCHAR[]", "tags": "VARCHAR[]",
}  # fmt: skip
_SHAPE = orjson.dumps([_COLUMNS]).decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What of a provider's models is wanted: all of them where nothing is said."""

    task: str | None = None
    library: str | None = None
    author: str | None = None

    def __str__(self) -> str:
        """Return it as one word: `task=text-generation,author=Qwen`; nothing for everything."""
        named = {"task": self.task, "library": self.library, "author": self.author}
        return ",".join(f"{name}={value}" for name, value in named.items() if value is not None)


@dataclass(frozen=True, slots=True)
class Sofar:
    """How far a sync is: where its next page is (None: it has seen the last), how many pages and rows there were."""

    next: str | None
    pages: int = 0
    rows: int = 0


class Arriving:
    """An unfinished sync: `with Arriving.open(folder, scope, complete=True, first=url) as sync`, then `add`."""

    def __init__(self, file: duckdb.DuckDBPyConnection, path: Path, started: int) -> None:
        self._file = file
        self.path = path
        self.started = started

    @classmethod
    @contextmanager
    def open(cls, folder: Path, scope: Scope, *, complete: bool, first: str) -> Iterator[Arriving]:
        """Begin a sync whose first page is at `first`, or go on with the one of this scope that was killed.

        `complete`: everything in the scope is listed, so that what does not come is gone. Raises Unavailable while
        another sync runs.
        """
        import duckdb

        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = folder / FILE
        with locked(folder / _LOCK, patience=_MOMENT):
            if path.exists() and path.stat().st_size < _HEADERS:
                discard(folder)  # it was killed while it made the file
            try:
                file = duckdb.connect(str(path), config=CLOSED)
            except duckdb.Error as error:
                hint = f"free some space, or delete {path} and begin anew"
                raise Unavailable(f"cannot open {path}: {line(error)}", hint=hint) from None
            with file:
                path.chmod(0o600)
                yield cls(file, path, _begun(file, scope, complete=complete, first=first))

    @property
    def sofar(self) -> Sofar:
        """How far it is."""
        row = self._file.execute("SELECT next, pages, rows FROM sync").fetchone()
        return Sofar(*row) if row else Sofar(None)

    def add(self, models: Sequence[Listed], following: str | None) -> None:
        """Keep a page, and where the next one is."""
        self._file.begin()
        if models:
            columns = ", ".join(f"each.{name}" for name in _COLUMNS)
            given = "(SELECT unnest(from_json(?, ?)) AS each)"
            self._file.execute(
                f"INSERT INTO arriving SELECT nextval('arrivals'), {columns} FROM {given}",
                [orjson.dumps(models).decode(), _SHAPE],
            )
        self._file.execute("UPDATE sync SET next = ?, pages = pages + 1, rows = rows + ?", [following, len(models)])
        self._file.commit()

    def detach(self) -> None:
        """Let go of the file, for another connection to read it."""
        self._file.close()


def discard(folder: Path) -> None:
    """Forget an unfinished sync."""
    for name in (FILE, f"{FILE}.wal"):
        (folder / name).unlink(missing_ok=True)


def line(error: Exception) -> str:
    """Return DuckDB's words as one line."""
    return " ".join(str(error).split())[:300] or type(error).__name__


def _begun(file: duckdb.DuckDBPyConnection, scope: Scope, *, complete: bool, first: str) -> int:
    """Make the tables, or keep those of an unfinished sync of the same scope; return when it was begun."""
    file.execute("CREATE TABLE IF NOT EXISTS sync (scope VARCHAR, complete BOOLEAN, started UINTEGER, next VARCHAR,"
                 " pages UINTEGER, rows UINTEGER)")  # fmt: skip
    known = file.execute("SELECT scope, complete, started FROM sync").fetchone()
    if known is None or known[:2] != (str(scope), complete):
        columns = ", ".join(f"{name} {kind}" for name, kind in _COLUMNS.items())
        file.begin()
        file.execute("CREATE OR REPLACE SEQUENCE arrivals")
        file.execute(f"CREATE OR REPLACE TABLE arriving (arrival UBIGINT, {columns})")
        file.execute("DELETE FROM sync")
        file.execute("INSERT INTO sync VALUES (?, ?, epoch(now())::UINTEGER, ?, 0, 0)", [str(scope), complete, first])
        file.commit()
    (started,) = file.execute("SELECT started FROM sync").fetchall()[0]
    return int(started)

"""The ledger: a DuckDB read model of the records, for questions in SQL. It can be deleted at any time."""

from __future__ import annotations

import fcntl
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workspace import ledger_logs, ledger_tables
from workspace.errors import Invalid, Unavailable
from workspace.paths import unwritable

if TYPE_CHECKING:
    import duckdb

    from workspace.home import Workspace

PATIENCE = 30.0  # seconds that a question may take
MEMORY = "1GB"
_MOMENT = 0.5  # seconds to wait for another process
# No extension is fetched or loaded, and no table is looked for among Python's variables.
_CLOSED = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "python_enable_replacements": False,
    "memory_limit": MEMORY,
}
_QUESTIONS = frozenset({"SELECT", "EXPLAIN", "MULTI"})  # MULTI is PIVOT


@dataclass(frozen=True, slots=True)
class Table:
    """The answer to a question; `truncated` where there were more rows than asked for."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    truncated: bool = False


def sql(workspace: Workspace, query: str, *, limit: int = 10_000, patience: float = PATIENCE) -> Table:
    """Answer one SQL question about everything recorded until now.

    Tables: runs, params, metrics, assets, edges, events, requests, and of flows flow_lines, flow_nodes, spans and
    served_requests. Nothing can be changed, and no file or network
    be reached: Invalid where the question tries, or is no SQL.

    >>> workspace.sql("SELECT name, status FROM runs ORDER BY started_at DESC").rows
    """
    if limit < 1:
        raise Invalid(f"the row limit must be at least 1, not {limit}")
    workspace.spool.ingest()
    workspace.runs.settle()
    with _fresh(workspace, logs=ledger_logs.asked(query)) as path:
        return _answer(path, query, limit, patience)


@contextmanager
def _fresh(workspace: Workspace, *, logs: bool) -> Iterator[Path]:
    """Give a ledger that is up to date: the workspace's own, or a passing one while another process has that."""
    own = workspace.home / "ledger.duckdb"
    with _alone(workspace.home / "ledger.lock") as mine:
        if mine:
            _refresh(workspace, own, logs=logs)
            yield own
            return
    with tempfile.TemporaryDirectory(prefix="studiolo-ledger-") as folder:
        passing = Path(folder) / "ledger.duckdb"
        _refresh(workspace, passing, logs=logs)
        yield passing


@contextmanager
def _alone(lock: Path) -> Iterator[bool]:
    """Hold the lock and give True; give False where another process keeps it longer than a refresh takes."""
    try:
        handle = os.open(lock, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise unwritable(lock, error) from error
    deadline = time.monotonic() + _MOMENT
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    yield False
                    return
                time.sleep(0.01)
            else:
                yield True
                return
    finally:
        os.close(handle)


def _refresh(workspace: Workspace, path: Path, *, logs: bool) -> None:
    import duckdb

    try:
        _bring_up_to_date(workspace, path, logs=logs)
    except (duckdb.Error, ledger_tables.Outdated):
        # Whatever is wrong with it, the records are elsewhere: make a new one.
        forget(path)
        try:
            _bring_up_to_date(workspace, path, logs=logs)
        except duckdb.Error as error:
            raise Unavailable(f"cannot make the ledger {path}: {_line(error)}", hint="run `studiolo doctor`") from error


def forget(path: Path) -> None:
    """Delete a ledger file and what DuckDB keeps beside it."""
    for name in (path, path.with_name(path.name + ".wal")):
        name.unlink(missing_ok=True)


def _bring_up_to_date(workspace: Workspace, path: Path, *, logs: bool) -> None:
    import duckdb

    with duckdb.connect(str(path), config=_CLOSED) as ledger, workspace.database.read() as records:
        path.chmod(0o600)
        ledger.begin()
        ledger_tables.refresh(ledger, records, source=workspace.database.url.render_as_string(hide_password=True))
        if logs:
            ledger_logs.refresh(ledger, workspace.home)
        ledger.commit()


def _answer(path: Path, query: str, limit: int, patience: float) -> Table:
    import duckdb

    locked_up = {"enable_external_access": False, "lock_configuration": True, "temp_directory": ""}
    with duckdb.connect(str(path), read_only=True, config=_CLOSED | locked_up) as ledger:
        _refuse_commands(ledger, query)
        clock = threading.Timer(patience, ledger.interrupt)
        clock.start()
        try:
            ledger.execute(query)
            columns = tuple(column[0] for column in ledger.description or ())
            rows = ledger.fetchmany(limit + 1)
        except duckdb.InterruptException:
            hint = "ask for less, or group first"
            raise Unavailable(f"the query took longer than {patience:g} s and was stopped", hint=hint) from None
        except duckdb.Error as error:
            raise _refused(error) from None
        finally:
            clock.cancel()
    return Table(columns, rows[:limit], truncated=len(rows) > limit)


def _refuse_commands(ledger: duckdb.DuckDBPyConnection, query: str) -> None:
    import duckdb

    try:
        statements = ledger.extract_statements(query)
        kinds = [statement.type.name for statement in statements]
    except duckdb.Error as error:
        raise _refused(error) from None
    except ValueError:  # a statement that the Python package has no name for: UPDATE EXTENSIONS, CONNECT
        kinds = ["COMMAND"]
    if len(kinds) != 1:
        raise Invalid(f"expected one SELECT, not {len(kinds)} statements")
    if kinds[0] not in _QUESTIONS:
        raise Invalid(
            f"{kinds[0].replace('_', ' ')} is not allowed: the ledger can only be asked", hint="write a SELECT"
        )


def _refused(error: duckdb.Error) -> Invalid:
    import duckdb

    if isinstance(error, duckdb.PermissionException):
        return Invalid("a query may not reach files, the network or settings", hint="ask the ledger's own tables")
    if isinstance(error, duckdb.CatalogException):
        what = _line(error).partition(" Did you mean")[0]  # it would name tables of DuckDB's own
        return Invalid(what, hint="tables: " + ", ".join(ledger_tables.NAMES))
    if "Cannot execute statement of type" in str(error):
        return Invalid("the ledger can only be asked, not changed", hint="write a SELECT")
    return Invalid(_line(error))


def _line(error: Exception) -> str:
    """Return DuckDB's message as one line."""
    lines = [line for line in str(error).splitlines() if line.strip(" ^")]
    return " ".join(" ".join(lines).split())[:500] if lines else type(error).__name__

"""Databases that connections lead to: what is asked of them becomes Parquet, and tables are written into them.

Addresses are in the words of SQLAlchemy, `sqlite:////path/to.db` or `postgresql+psycopg://host/name`;
`duckdb:///path/to.db` is a file of DuckDB.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from jobs.monitors import frames
from jobs.monitors.frames import Frame
from workspace.errors import Invalid, MissingExtra, Unavailable

if TYPE_CHECKING:
    from sqlalchemy import URL, Engine, Table

DUCKDB = "duckdb:///"
AT_ONCE = 1_000  # rows that are written together
NOTES = "studiolo_exports"  # the table, beside those that are written into, of the jobs that have done so
_LOADED = "CREATE TABLE loaded AS SELECT * FROM read_json_auto(?, format = 'newline_delimited')"


def bring(statement: str, connection: Mapping[str, Any], file: Path) -> None:
    """Ask a database, and keep the answer as a file of Parquet."""
    leads = str(connection.get("target") or "")
    file.parent.mkdir(parents=True, exist_ok=True)
    if leads.startswith(DUCKDB):
        with _of_duckdb(connection, read_only=True) as database:
            _shut(database, file)
            database.sql(statement).write_parquet(str(file))
        return
    from sqlalchemy import text

    with _engine(connection) as engine, engine.connect().execution_options(stream_results=True) as opened:
        answer = opened.execute(text(statement))
        _write_parquet(list(answer.keys()), answer, file)


def put(connection: Mapping[str, Any], table: str, frame: Frame, database: duckdb.DuckDBPyConnection, job: str) -> bool:
    """Add the rows of a frame to a table, which is made where there is none; all of them or none, and once for a job.

    Return whether they were added now: a process that was killed when they were in, and is made again, adds none.
    """
    if str(connection.get("target") or "").startswith(DUCKDB):
        return _put_into_duckdb(connection, table, frame, database, job)
    from sqlalchemy import MetaData
    from sqlalchemy.exc import IntegrityError

    schema, _, name = table.rpartition(".")
    made = _table(MetaData(), name, schema or None, frame)
    with _engine(connection) as engine:
        has_table = _takes(engine, table, frame)
        notes = _notes(engine, schema or None)
        if _is_noted(engine, notes, job):
            return False
        try:
            with engine.begin() as opened:
                # First of all: it waits here while a process that was killed is not yet done for the database.
                opened.execute(notes.insert(), {"job": job, "rows": frame.rows})
                if not has_table:
                    made.create(opened)
                for rows in _batches(database, frame):
                    opened.execute(made.insert(), rows)
        except IntegrityError:
            if not _is_noted(engine, notes, job):
                raise
            return False
    return True


def quoted(table: str) -> str:
    """Return the name of a table, with its schema, as SQL takes it."""
    return ".".join(f'"{part}"' for part in table.replace('"', "").split("."))


def _put_into_duckdb(
    connection: Mapping[str, Any], table: str, frame: Frame, database: duckdb.DuckDBPyConnection, job: str
) -> bool:
    columns = ", ".join(f"{frames.quoted(name)} {kind}" for name, kind in frame.columns.items())
    with _of_duckdb(connection, read_only=False) as opened, tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.parquet"
        frames.write(database, frame, file)
        opened.execute("BEGIN")
        opened.execute(f"CREATE TABLE IF NOT EXISTS {NOTES} (job VARCHAR PRIMARY KEY, rows BIGINT)")
        if opened.execute(f"SELECT 1 FROM {NOTES} WHERE job = ?", [job]).fetchone():
            opened.execute("ROLLBACK")
            return False
        opened.execute(f"INSERT INTO {NOTES} VALUES (?, ?)", [job, frame.rows])
        opened.execute(f"CREATE TABLE IF NOT EXISTS {quoted(table)} ({columns})")
        opened.execute(f"INSERT INTO {quoted(table)} BY NAME SELECT * FROM read_parquet(?)", [str(file)])
        opened.execute("COMMIT")
    return True


def _takes(engine: Engine, table: str, frame: Frame) -> bool:
    """Whether there is such a table; Invalid where it lacks a column."""
    from sqlalchemy import inspect

    schema, _, name = table.rpartition(".")
    if not inspect(engine).has_table(name, schema=schema or None):
        return False
    known = {each["name"] for each in inspect(engine).get_columns(name, schema=schema or None)}
    if missing := [each for each in frame.columns if each not in known]:
        raise Invalid(f"table {table!r} has no column {missing[0]!r}", hint=f"it has {', '.join(known)}")
    return True


def _notes(engine: Engine, schema: str | None) -> Table:
    """Return the table of the jobs whose rows are in, which is made where there is none."""
    from sqlalchemy import BigInteger, Column, MetaData, String, Table, inspect
    from sqlalchemy.exc import DBAPIError

    columns = (Column("job", String(64), primary_key=True), Column("rows", BigInteger))
    made = Table(NOTES, MetaData(), *columns, schema=schema)
    try:
        made.create(engine, checkfirst=True)
    except DBAPIError as problem:
        if not inspect(engine).has_table(NOTES, schema=schema):  # nobody else has made it meanwhile
            told = str(problem.orig).splitlines()[0]
            hint = f"an export keeps there that it is done: make {NOTES} (job VARCHAR(64) PRIMARY KEY, rows BIGINT)"
            raise Unavailable(f"table {NOTES} cannot be made: {told}", hint=hint) from None
    return made


def _is_noted(engine: Engine, notes: Table, job: str) -> bool:
    with engine.connect() as opened:
        return opened.execute(notes.select().where(notes.c.job == job)).first() is not None


def _shut(database: duckdb.DuckDBPyConnection, file: Path) -> None:
    """Let what is asked see the database alone, and no file, network or extension; the answer may be written."""
    places = [str(each).replace("'", "''") for each in (file, file.with_name(f"tmp_{file.name}"))]  # DuckDB's own
    database.execute(f"SET allowed_paths = ['{places[0]}', '{places[1]}']")
    database.execute("SET enable_external_access = false")
    database.execute("SET lock_configuration = true")


@contextmanager
def _of_duckdb(connection: Mapping[str, Any], *, read_only: bool) -> Iterator[duckdb.DuckDBPyConnection]:
    path = Path(str(connection["target"]).removeprefix(DUCKDB))
    try:
        with duckdb.connect(str(path), read_only=read_only) as opened:
            yield opened
    except duckdb.Error as problem:
        told = str(problem).splitlines()[0]
        raise Unavailable(f"the database of connection {connection['name']!r}: {told}") from None


@contextmanager
def _engine(connection: Mapping[str, Any]) -> Iterator[Engine]:
    """Open a database; what it says against us is told in one line."""
    from sqlalchemy import create_engine
    from sqlalchemy.exc import SQLAlchemyError

    try:
        engine = create_engine(_url(connection))
    except ImportError as problem:
        what = f"the database of connection {connection['name']!r} needs the package {problem.name}"
        raise MissingExtra(what, hint=f"pip install {problem.name}") from None
    try:
        yield engine
    except SQLAlchemyError as problem:
        told = str(getattr(problem, "orig", None) or problem).splitlines()[0]
        raise Unavailable(f"the database of connection {connection['name']!r}: {told}") from None
    finally:
        engine.dispose()


def _url(connection: Mapping[str, Any]) -> URL:
    """Return the address of a database, with who asks; Invalid where it is not in SQLAlchemy's words."""
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    hint = "write the connection's `target` as sqlite:////path/to.db, postgresql+psycopg://host/name or duckdb:///path"
    try:
        url = make_url(str(connection["target"]))
        url.get_dialect()
    except (ArgumentError, NoSuchModuleError, ImportError):
        raise Invalid(f"connection {connection['name']!r} leads to no database known here", hint=hint) from None
    given = connection.get("credentials") or {}
    if url.host and url.username is None and given.get("username"):
        url = url.set(username=given["username"], password=given.get("password"))
    return url


def _table(metadata: Any, name: str, schema: str | None, frame: Frame) -> Table:
    from sqlalchemy import Column, Table

    return Table(name, metadata, *(Column(each, _type(kind)) for each, kind in frame.columns.items()), schema=schema)


def _type(kind: str) -> Any:
    from sqlalchemy import BigInteger, Boolean, Date, DateTime, Double, LargeBinary, Numeric, Text, Time

    for begins, made in (
        ("BOOLEAN", Boolean()), ("TIMESTAMP WITH", DateTime(timezone=True)), ("TIMESTAMP", DateTime()),
        ("DATE", Date()), ("TIME", Time()), ("DECIMAL", Numeric()), ("BLOB", LargeBinary()), ("HUGEINT", Numeric()),
        ("UHUGEINT", Numeric()),
    ):  # fmt: skip
        if kind.startswith(begins):
            return made
    if kind in ("DOUBLE", "FLOAT"):
        return Double()
    return BigInteger() if kind.endswith(("INT", "INTEGER")) else Text()


def _batches(database: duckdb.DuckDBPyConnection, frame: Frame) -> Iterator[list[dict[str, Any]]]:
    answer = database.cursor().execute(f"SELECT * FROM {frame.table}")
    names = [column[0] for column in answer.description or ()]
    while rows := answer.fetchmany(AT_ONCE):
        yield [dict(zip(names, map(_written, row), strict=True)) for row in rows]


def _written(value: Any) -> Any:
    """Return a value as databases take it: what is built of several is JSON."""
    if isinstance(value, dict | list):
        return json.dumps(value, default=str)
    is_plain = value is None or isinstance(value, str | int | float | bytes | datetime | date | time | Decimal)
    return value if is_plain else str(value)


def _write_parquet(names: Sequence[str], rows: Iterable[Any], file: Path) -> None:
    lines = file.with_name(".rows.jsonl")
    with lines.open("w", encoding="utf-8") as written:
        for row in rows:
            written.write(json.dumps(dict(zip(names, map(_plain, row), strict=True)), default=str) + "\n")
    with duckdb.connect() as database:
        if lines.stat().st_size:
            database.execute(_LOADED, [str(lines)])
        else:
            columns = ", ".join(f"{frames.quoted(name)} VARCHAR" for name in names)
            database.execute(f"CREATE TABLE loaded ({columns})")
        database.table("loaded").write_parquet(str(file))
    lines.unlink()


def _plain(value: Any) -> Any:
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return float(value)
    return bytes(value).hex() if isinstance(value, bytes | memoryview) else value

"""Data of one signal as a table of DuckDB: what a deployment has collected, files, and tables; of a window of time."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb

from jobs.data import tables
from jobs.files import read_mltable
from jobs.monitors.windows import Span, moment
from workspace.blobs import files_of
from workspace.errors import Invalid

CORRELATION, EVENT, ALONE, TIME = "correlationid", "_event", "_alone", "_time"  # columns beside the features
HIDDEN = (CORRELATION, EVENT, ALONE, TIME)
ANSWER = "prediction"  # what a model's answer is called that has no name
NUMBERS = re.compile(r"U?(?:TINY|SMALL|BIG|HUGE)?INT(?:EGER)?|DOUBLE|FLOAT|DECIMAL.*")
_ROLLED = re.compile(r"/(\d{4})/(\d{2})/(\d{2})(?:/(\d{2}))?/(?:\d{2}/)?[^/]+$")
_READERS = {
    ".parquet": "read_parquet({files}, union_by_name = true)",
    ".csv": "read_csv({files}, union_by_name = true, header = true)",
    ".tsv": "read_csv({files}, union_by_name = true, header = true)",
    ".jsonl": "read_json({files}, union_by_name = true)",
    ".json": "read_json({files}, union_by_name = true)",
}
_SIMPLE = {"read_parquet", "read_json_lines"}
_EVENTS = """
CREATE OR REPLACE TEMP TABLE events AS
SELECT correlationid, "time", data, dataref, filename FROM read_json(
  {files}, format = 'newline_delimited', filename = true, maximum_object_size = 33554432, columns =
  {{"time": 'TIMESTAMPTZ', correlationid: 'VARCHAR', data: 'JSON', dataref: 'VARCHAR'}}
) WHERE {wanted}
"""
_LINES = """
CREATE OR REPLACE TEMP TABLE lines AS
SELECT correlationid AS event, len(listed) = 1 AS alone, "time",
       generate_subscripts(listed, 1) - 1 AS place, unnest(listed) AS line
FROM (SELECT *, CASE json_type(data) WHEN 'ARRAY' THEN from_json(data, '["JSON"]') ELSE [data] END AS listed
      FROM events WHERE data IS NOT NULL AND json_type(data) <> 'NULL')
"""
_NAMED = f"UPDATE lines SET line = json_object('{ANSWER}', line) WHERE json_type(line) <> 'OBJECT'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A table; `columns` are its features by name, with DuckDB's types."""

    table: str
    rows: int
    columns: Mapping[str, str]
    span: Span | None
    source: str
    note: str = ""

    def plain(self) -> dict[str, Any]:
        """Return what reports say of it."""
        told: dict[str, Any] = {"source": self.source, "rows": self.rows}
        return told | (self.span.plain() if self.span else {}) | ({"note": self.note} if self.note else {})


def open_database() -> duckdb.DuckDBPyConnection:
    """Return an empty database, which fetches nothing."""
    database = duckdb.connect(
        config={"autoinstall_known_extensions": False, "autoload_known_extensions": False, "memory_limit": "2GB"}
    )
    database.execute("SET TimeZone = 'UTC'")
    return database


def load(
    database: duckdb.DuckDBPyConnection, table: str, place: Path, *, span: Span | None, timestamp: str | None = None,
    source: str = "",
) -> Frame:  # fmt: skip
    """Make a table of what lies at a place, of that time. `timestamp` names the column that says when a row is of."""
    files = _files(place)
    if isinstance(files, Path):
        database.register("given", tables.read(files))
        database.execute(f"CREATE OR REPLACE TABLE {table} AS SELECT * FROM given")
        database.unregister("given")
    elif files and _are_events(files):
        _load_events(database, table, [path for path in files if _may_hold(path, span)], span)
        return _frame(database, table, span=span, source=source)
    elif files:
        reader = _reader(files).format(files=_list(files))
        try:
            database.execute(f"CREATE OR REPLACE TABLE {table} AS SELECT * FROM {reader}")
        except duckdb.Error as problem:
            raise Invalid(f"{source or place} cannot be read: {str(problem).splitlines()[0]}") from None
    else:
        database.execute(f"CREATE OR REPLACE TABLE {table} (nothing INTEGER)")
        return _frame(database, table, span=span, source=source)
    return _of_static(database, table, span=span, timestamp=timestamp, source=source)


def keep_segment(database: duckdb.DuckDBPyConnection, frame: Frame, feature: str, values: Sequence[str]) -> Frame:
    """Keep the rows alone whose feature has one of these values."""
    if feature not in frame.columns:
        raise Invalid(f"`data_segment` names {feature!r}, which {frame.source} does not have")
    named = quoted(feature)
    database.execute(
        f"DELETE FROM {frame.table} WHERE {named} IS NULL OR NOT list_contains(?, {named}::VARCHAR)", [list(values)]
    )
    return _frame(database, frame.table, span=frame.span, source=frame.source, note=frame.note)


def joined(database: duckdb.DuckDBPyConnection, table: str, left: Frame, right: Frame) -> Frame:
    """Make a table of two that were collected together: rows meet by their correlation ids."""
    others = [name for name in right.columns if name not in left.columns]
    wanted = ", ".join(["l.*", *(f"r.{quoted(name)}" for name in others)])
    database.execute(
        f"CREATE OR REPLACE TABLE {table} AS SELECT {wanted} FROM {left.table} l "
        f"JOIN {right.table} r ON l.{CORRELATION} = r.{CORRELATION}"
    )
    return _frame(database, table, span=left.span, source=f"{left.source}, {right.source}")


def write(database: duckdb.DuckDBPyConnection, frame: Frame, file: Path) -> None:
    """Write a table as Parquet."""
    database.execute(f"COPY {frame.table} TO '{_literal(str(file))}' (FORMAT parquet)")


def quoted(name: str) -> str:
    """Return a name as SQL takes it."""
    return '"' + name.replace('"', '""') + '"'


def is_number(kind: str) -> bool:
    """Whether a type of DuckDB is a number."""
    return NUMBERS.fullmatch(kind) is not None


def _frame(database: duckdb.DuckDBPyConnection, table: str, *, span: Span | None, source: str, note: str = "") -> Frame:
    described = database.execute(f"DESCRIBE {table}").fetchall()
    columns = {row[0]: row[1] for row in described if row[0] not in (EVENT, ALONE, TIME)}
    (rows,) = database.execute(f"SELECT count(*) FROM {table}").fetchone() or (0,)
    return Frame(table=table, rows=rows, columns=columns, span=span, source=source, note=note)


def _of_static(
    database: duckdb.DuckDBPyConnection, table: str, *, span: Span | None, timestamp: str | None, source: str
) -> Frame:
    frame = _frame(database, table, span=None, source=source)
    if span is None:
        return frame
    if timestamp is None or timestamp not in frame.columns:
        note = "its rows do not say when they are of: all are taken; name that column in data_column_names.timestamp"
        return _frame(database, table, span=None, source=source, note=note)
    when = f"epoch({quoted(timestamp)}::TIMESTAMPTZ)"
    outside = f"DELETE FROM {table} WHERE {when} IS NULL OR {when} < ? OR {when} >= ?"
    try:
        database.execute(outside, [span.start, span.end])
    except duckdb.Error as problem:
        hint = "data_column_names.timestamp names a column of times, as 2026-05-01T00:00:00Z"
        told = str(problem).splitlines()[0]
        raise Invalid(f"column {timestamp!r} of {source} is of no time: {told}", hint=hint) from None
    return _frame(database, table, span=span, source=source)


def _load_events(database: duckdb.DuckDBPyConnection, table: str, files: list[Path], span: Span | None) -> None:
    if not files:
        database.execute(f"CREATE OR REPLACE TABLE {table} (nothing INTEGER)")
        return
    wanted = "true" if span is None else f'epoch("time") >= {span.start!r} AND epoch("time") < {span.end!r}'
    try:
        database.execute(_EVENTS.format(files=_list(files), wanted=wanted))
        _fetch_aside(database)
        database.execute(_LINES)
        database.execute(_NAMED)
        (shape,) = database.execute("SELECT json_group_structure(line)::VARCHAR FROM lines").fetchone() or (None,)
    except duckdb.Error as problem:
        raise Invalid(f"what was collected cannot be read: {str(problem).splitlines()[0]}") from None
    columns = _columns(json.loads(shape or "{}"))
    own = "" if CORRELATION in {name.lower() for name in columns} else f"event || '_' || place AS {CORRELATION}, "
    paths = ", ".join(f"'{_pointer(name)}'" for name in columns)
    features = "".join(
        f", TRY_CAST(found[{place}] AS {kind}) AS {quoted(name)}"
        for place, (name, kind) in enumerate(columns.items(), 1)
    )
    if not columns:
        database.execute(f"CREATE OR REPLACE TABLE {table} (nothing INTEGER)")
        return
    database.execute(
        f'CREATE OR REPLACE TABLE {table} AS SELECT {own}event AS {EVENT}, alone AS {ALONE}, "time" AS {TIME}{features}'
        f" FROM (SELECT *, json_extract_string(line, [{paths}]) AS found FROM lines)"
    )


def _columns(shape: Any) -> dict[str, str]:
    """Return the types of what the objects have by name; numbers among words are words, what is nested stays JSON.

    Names that differ by their case alone are one column: the first.
    """
    found: dict[str, str] = {}
    for name, kind in shape.items() if isinstance(shape, dict) else ():
        if name and name.lower() not in {each.lower() for each in found}:
            found[name] = "JSON" if not isinstance(kind, str) else "VARCHAR" if kind in ("JSON", "NULL") else kind
    return found


def _pointer(name: str) -> str:
    return _literal("/" + name.replace("~", "~0").replace("/", "~1"))


def _fetch_aside(database: duckdb.DuckDBPyConnection) -> None:
    """Read payloads that were too large for their line, from the files beside it."""
    rows = database.execute("SELECT DISTINCT filename, dataref FROM events WHERE dataref IS NOT NULL").fetchall()
    for filename, beside in rows:
        aside = Path(filename).with_name(Path(str(beside)).name)
        if aside.is_file():
            content = aside.read_text(encoding="utf-8", errors="replace")
            database.execute("UPDATE events SET data = ?::JSON WHERE filename = ? AND dataref = ?",
                             [content, filename, beside])  # fmt: skip


def _files(place: Path) -> list[Path] | Path:
    """Return the files of data, or the place itself where only pandas reads it as its MLTable file says."""
    if tables.file_in(place) is not None:
        said = read_mltable(tables.file_in(place) or place)
        steps = [key for each in said.origin.written.get("transformations") or () for key in _keys(each)]
        return tables.files(place) if steps and set(steps) <= _SIMPLE else place
    if place.is_file():
        return [place]
    return sorted(path for path in files_of(place) if path.suffix in _READERS)


def _keys(step: Any) -> Iterable[str]:
    return step if isinstance(step, Mapping) else [str(step)]


def _reader(files: Sequence[Path]) -> str:
    kinds = {path.suffix for path in files}
    if len(kinds) != 1 or not kinds <= set(_READERS):
        raise Invalid(
            f"data of {', '.join(sorted(kinds)) or 'no kind'} cannot be read as one table",
            hint=f"files of one kind: {', '.join(_READERS)}, or an MLTable",
        )
    return _READERS[kinds.pop()]


def _are_events(files: Sequence[Path]) -> bool:
    """Whether files are what a data collector has written."""
    if any(path.suffix != ".jsonl" for path in files):
        return False
    with files[0].open("rb") as file:
        first = file.readline(65_536)
    return b'"specversion"' in first and b'"correlationid"' in first


def _may_hold(path: Path, span: Span | None) -> bool:
    """Whether a file may hold something of that time, by the folders of day and hour that it lies in."""
    found = _ROLLED.search(path.as_posix())
    if span is None or found is None:
        return True
    try:
        start = datetime(int(found[1]), int(found[2]), int(found[3]), int(found[4] or 0), tzinfo=UTC)
    except ValueError:
        return True
    end = start + (timedelta(hours=1) if found[4] else timedelta(days=1))
    return start.timestamp() < span.end and end.timestamp() + 60 > span.start


def _list(files: Sequence[Path]) -> str:
    return "[" + ", ".join(f"'{_literal(str(path))}'" for path in files) + "]"


def _literal(text: str) -> str:
    return text.replace("'", "''")


def told(frame: Frame) -> str:
    """Return what a frame is in a few words: rows, and of which time."""
    when = f" from {moment(frame.span.start)} to {moment(frame.span.end)}" if frame.span else ""
    return f"{frame.rows} rows of {frame.source}{when}"


def renamed(database: duckdb.DuckDBPyConnection, frame: Frame, table: str, old: str, new: str) -> Frame:
    """Return a frame as another table, with one column under another name and nothing else."""
    database.execute(f"CREATE OR REPLACE TABLE {table} AS SELECT {quoted(old)} AS {quoted(new)} FROM {frame.table}")
    return _frame(database, table, span=frame.span, source=frame.source, note=frame.note)


def copied(database: duckdb.DuckDBPyConnection, frame: Frame, table: str) -> Frame:
    """Return a frame as another table, of which rows may be taken."""
    database.execute(f"CREATE OR REPLACE TABLE {table} AS SELECT * FROM {frame.table}")
    return _frame(database, table, span=frame.span, source=frame.source, note=frame.note)

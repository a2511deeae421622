"""What is in the ledger, and how each table follows the records: only what is new or changed is read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Select, Text, cast, func, select

from workspace import ledger_logs
from workspace.ledger_insert import insert
from workspace.tables import asset_labels, assets, edges, events, metrics, runs

if TYPE_CHECKING:
    import duckdb

VERSION = 4  # of the statements below: a ledger made by others is made anew
NAMES = ("runs", "params", "metrics", "assets", "edges", "events", "requests", *ledger_logs.NAMES)
_OVERLAP = 60.0  # seconds that an edge's clock may be behind another's
_CHUNK = 20_000

# Times are UTC. A metric that was not a number is NULL, so that averages pass over it.
_SCHEMA = """
CREATE TABLE ledger (version INTEGER, source VARCHAR);
CREATE TABLE runs (
    run_id VARCHAR, kind VARCHAR, name VARCHAR, status VARCHAR, started_at TIMESTAMP, ended_at TIMESTAMP,
    duration DOUBLE, error VARCHAR, git_commit VARCHAR, git_dirty BOOLEAN, tags JSON, environment JSON, changed INTEGER
);
CREATE TABLE params (run_id VARCHAR, key VARCHAR, value VARCHAR);
CREATE TABLE metrics (id BIGINT, run_id VARCHAR, key VARCHAR, step BIGINT, value DOUBLE, ts TIMESTAMP);
CREATE TABLE assets (
    ref VARCHAR, kind VARCHAR, name VARCHAR, version VARCHAR, digest VARCHAR, size BIGINT, is_folder BOOLEAN,
    archived BOOLEAN, created_at TIMESTAMP, labels VARCHAR[], properties JSON
);
CREATE TABLE edges (
    source VARCHAR, target VARCHAR, run_id VARCHAR, created_at TIMESTAMP, PRIMARY KEY (source, target)
);
CREATE TABLE events (seq BIGINT, event_id VARCHAR, kind VARCHAR, ts TIMESTAMP, run_id VARCHAR, payload JSON);
CREATE VIEW requests AS SELECT
    coalesce(payload->>'request_id', event_id) AS request_id,
    ts,
    payload->>'endpoint' AS endpoint,
    payload->>'deployment' AS deployment,
    payload->>'model' AS model,
    TRY_CAST(payload->>'status' AS INTEGER) AS status,
    TRY_CAST(payload->>'prompt_tokens' AS BIGINT) AS prompt_tokens,
    TRY_CAST(payload->>'completion_tokens' AS BIGINT) AS completion_tokens,
    TRY_CAST(payload->>'first_byte_ms' AS DOUBLE) AS first_byte_ms,
    TRY_CAST(payload->>'duration_ms' AS DOUBLE) AS duration_ms,
    payload->>'error' AS error,
    run_id,
    payload
FROM events WHERE kind = 'request';
"""


class Outdated(Exception):
    """The ledger was made from other records, or by another version."""


def refresh(ledger: duckdb.DuckDBPyConnection, records: Connection, *, source: str) -> None:
    """Bring the tables up to date with the records, making them where there are none; Outdated: delete the file."""
    if not ledger.execute("SELECT 1 FROM duckdb_tables() WHERE table_name = 'ledger'").fetchone():
        ledger.execute(_SCHEMA + ledger_logs.SCHEMA)
        ledger.execute("INSERT INTO ledger VALUES (?, ?)", [VERSION, source])
    elif ledger.execute("SELECT version, source FROM ledger").fetchone() != (VERSION, source):
        raise Outdated
    _refresh_runs(ledger, records)
    _refresh_metrics(ledger, records)
    _refresh_assets(ledger, records)
    _refresh_edges(ledger, records)
    _refresh_events(ledger, records)


def _refresh_runs(ledger: duckdb.DuckDBPyConnection, records: Connection) -> None:
    known = dict(ledger.execute("SELECT run_id, changed FROM runs").fetchall())
    seen = {row.run_id: row.changed for row in records.execute(select(runs.c.run_id, runs.c.changed))}
    if any(run_id not in seen or seen[run_id] < changed for run_id, changed in known.items()):
        raise Outdated
    wanted = [run_id for run_id, changed in seen.items() if known.get(run_id) != changed]
    old = [run_id for run_id in wanted if run_id in known]
    for table in ("runs", "params"):
        ledger.execute(f"DELETE FROM {table} WHERE run_id IN (SELECT unnest($1::VARCHAR[]))", [old])
    for part in _chunks(wanted, 500):
        rows = records.execute(select(runs).where(runs.c.run_id.in_(part))).all()
        insert(ledger, "runs", [_run(row) for row in rows])
        insert(ledger, "params", [(row.run_id, key, _text(value)) for row in rows for key, value in row.params.items()])


def _run(row: Any) -> tuple[Any, ...]:
    git = row.environment.get("git") or {}
    duration = None if row.ended_at is None else row.ended_at - row.started_at
    return (
        row.run_id, row.kind, row.name, row.status, row.started_at, row.ended_at, duration, row.error,
        git.get("commit"), git.get("dirty"), json.dumps(row.tags), json.dumps(row.environment), row.changed,
    )  # fmt: skip


def _refresh_metrics(ledger: duckdb.DuckDBPyConnection, records: Connection) -> None:
    columns = (metrics.c.id, metrics.c.run_id, metrics.c.key, metrics.c.step, metrics.c.value, metrics.c.ts)
    _append(ledger, records, "metrics", select(*columns))


def _refresh_events(ledger: duckdb.DuckDBPyConnection, records: Connection) -> None:
    payload = cast(events.c.payload, Text)  # text as it is: nobody here looks inside
    columns = (events.c.seq, events.c.event_id, events.c.kind, events.c.ts, events.c.run_id, payload)
    _append(ledger, records, "events", select(*columns))


def _append(ledger: duckdb.DuckDBPyConnection, records: Connection, table: str, query: Select[Any]) -> None:
    """Add the rows that are numbered above the ledger's last; writers take their numbers in the order of commit."""
    number = query.selected_columns[0]
    last = _one(ledger, f"SELECT coalesce(max({number.name}), 0) FROM {table}")
    if last > (records.scalar(select(func.max(number))) or 0):
        raise Outdated
    for rows in _chunks(records.execute(query.where(number > last).order_by(number)), _CHUNK):
        insert(ledger, table, rows)


def _refresh_assets(ledger: duckdb.DuckDBPyConnection, records: Connection) -> None:
    labels: dict[tuple[str, str, str], list[str]] = {}
    for row in records.execute(select(asset_labels).order_by(asset_labels.c.label)):
        labels.setdefault((row.kind, row.name, row.version), []).append(row.label)
    rows = [
        (
            f"{row.kind}:{row.name}:{row.version}", row.kind, row.name, row.version, row.digest, row.size,
            row.is_folder, row.archived_at is not None, row.created_at,
            labels.get((row.kind, row.name, row.version), []), json.dumps(row.properties),
        )
        for row in records.execute(select(assets).order_by(assets.c.id))
    ]  # fmt: skip
    # Labels and archiving change old rows, and there are few: thousands, not millions.
    ledger.execute("DELETE FROM assets")
    insert(ledger, "assets", rows)


def _refresh_edges(ledger: duckdb.DuckDBPyConnection, records: Connection) -> None:
    total = records.scalar(select(func.count()).select_from(edges)) or 0
    if _one(ledger, "SELECT count(*) FROM edges") == total:
        return
    columns = select(edges.c.source, edges.c.target, edges.c.run_id, edges.c.created_at)
    last = _one(ledger, "SELECT coalesce(epoch(max(created_at)), 0) FROM edges")
    for rows in _chunks(records.execute(columns.where(edges.c.created_at >= last - _OVERLAP)), _CHUNK):
        insert(ledger, "edges", rows)
    if _one(ledger, "SELECT count(*) FROM edges") == total:
        return
    for rows in _chunks(records.execute(columns), _CHUNK):  # one came late by more than the overlap
        insert(ledger, "edges", rows)
    if _one(ledger, "SELECT count(*) FROM edges") != total:
        raise Outdated


def _chunks(rows: Iterable[Any], size: int) -> Iterator[list[Any]]:
    iterator = iter(rows)
    while chunk := list(islice(iterator, size)):
        yield chunk


def _one(ledger: duckdb.DuckDBPyConnection, query: str) -> Any:
    row = ledger.execute(query).fetchone()
    return None if row is None else row[0]


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value)

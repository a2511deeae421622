"""Tables over the logs of flows: lines and nodes of runs, spans inside them, and requests that flows have answered.

The logs are files beside the records, a JSON object a line. They are read only where a question names one of these
tables, and then only files that have changed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workspace import ledger_samples
from workspace.ledger_insert import insert

if TYPE_CHECKING:
    import duckdb

NAMES = ("flow_lines", "flow_nodes", "spans", "served_requests", *ledger_samples.NAMES)
_ASKED = re.compile(rf"\b({'|'.join(NAMES)})\b", re.IGNORECASE)
_RUN_LOG = "lines.jsonl"
_PART = 2_000  # lines that are written together

SCHEMA = (
    """
CREATE TABLE logs (path VARCHAR, size BIGINT, changed BIGINT);
CREATE TABLE flow_lines (
    log VARCHAR, run_id VARCHAR, line BIGINT, status VARCHAR, error VARCHAR, started_at TIMESTAMP, duration DOUBLE,
    prompt_tokens BIGINT, completion_tokens BIGINT, cost DOUBLE, inputs JSON, outputs JSON
);
CREATE TABLE flow_nodes (
    log VARCHAR, run_id VARCHAR, line BIGINT, name VARCHAR, type VARCHAR, status VARCHAR, error VARCHAR,
    started_at TIMESTAMP, duration DOUBLE, prompt_tokens BIGINT, completion_tokens BIGINT, model VARCHAR, cost DOUBLE,
    inputs JSON, output JSON
);
CREATE TABLE spans (
    log VARCHAR, run_id VARCHAR, line BIGINT, node VARCHAR, path VARCHAR, kind VARCHAR, name VARCHAR, error VARCHAR,
    started_at TIMESTAMP, duration DOUBLE, prompt_tokens BIGINT, completion_tokens BIGINT, model VARCHAR, cost DOUBLE,
    attributes JSON, inputs JSON, output JSON
);
CREATE TABLE served_requests (
    log VARCHAR, request_id VARCHAR, ts TIMESTAMP, flow VARCHAR, digest VARCHAR, path VARCHAR, status INTEGER,
    duration DOUBLE, prompt_tokens BIGINT, completion_tokens BIGINT, cost DOUBLE, error VARCHAR, feedback JSON,
    inputs JSON, outputs JSON
);
"""
    + ledger_samples.SCHEMA
)

Rows = dict[str, list[tuple[Any, ...]]]


def asked(query: str) -> bool:
    """Whether a question names one of the tables."""
    return _ASKED.search(query) is not None


def refresh(ledger: duckdb.DuckDBPyConnection, home: Path) -> None:
    """Read the logs that are new or have changed; rows of those that are gone go."""
    known = {path: (size, changed) for path, size, changed in ledger.execute("SELECT * FROM logs").fetchall()}
    there = dict(_logs(home))
    for path in [path for path in known if known[path] != there.get(path)]:
        for table in NAMES:
            ledger.execute(f"DELETE FROM {table} WHERE log = ?", [path])
        ledger.execute("DELETE FROM logs WHERE path = ?", [path])
    for path, sign in there.items():
        if known.get(path) == sign:
            continue
        run_id = Path(path).parent.name if path.startswith("runs/") else None
        of_samples = path.endswith(ledger_samples.LOG)
        parts = ledger_samples.read(home / path, path) if of_samples else _read(home / path, path, run_id)
        for rows in parts:
            for table, part in rows.items():
                insert(ledger, table, part)
        ledger.execute("INSERT INTO logs VALUES (?, ?, ?)", [path, *sign])


def _logs(home: Path) -> Iterator[tuple[str, tuple[int, int]]]:
    for path in [
        *home.glob(f"runs/*/{_RUN_LOG}"),
        *home.glob(f"runs/*/{ledger_samples.LOG}"),
        *home.glob("spool/served/*.jsonl"),
    ]:
        try:
            seen = path.stat()
        except FileNotFoundError:
            continue  # it was rotated or deleted meanwhile
        yield path.relative_to(home).as_posix(), (seen.st_size, seen.st_mtime_ns)


def _read(path: Path, log: str, run_id: str | None) -> Iterator[Rows]:
    last = _last_places(path) if run_id else None
    rows: Rows = {table: [] for table in NAMES}
    count = place = 0
    with path.open("rb") as file:
        for raw in file:
            place += len(raw)
            if last is not None and place - len(raw) not in last:
                continue  # it ran again later, or is torn
            try:
                _add(rows, json.loads(raw.decode("utf-8", "replace")), log, run_id)
            except (ValueError, KeyError, TypeError):
                continue  # torn by a full disk or a kill
            count += 1
            if count % _PART == 0:
                yield rows
                rows = {table: [] for table in NAMES}
    yield rows


def _last_places(path: Path) -> frozenset[int]:
    """Return where the lines of a run begin, each as it ended last."""
    found: dict[Any, int] = {}
    place = 0
    with path.open("rb") as file:
        for raw in file:
            if raw.endswith(b"\n") and (number := re.match(rb'\{"number": ?(\d+)', raw)):
                found[number[1]] = place
            place += len(raw)
    return frozenset(found.values())


def _add(rows: Rows, record: Mapping[str, Any], log: str, run_id: str | None) -> None:
    if run_id is None:
        _add_request(rows, record, log)
        return
    number = record["number"]
    rows["flow_lines"].append((
        log, run_id, number, record["status"], _text(record.get("error")), _began(record), record.get("duration"),
        *_spent(record), _json(record.get("inputs")), _json(record.get("outputs")),
    ))  # fmt: skip
    _add_nodes(rows, record, log, run_id, number)


def _add_request(rows: Rows, record: Mapping[str, Any], log: str) -> None:
    line = record.get("line") or {}
    rows["served_requests"].append((
        log, record["id"], record["ts"], record["flow"], record["digest"], record["path"], record["status"],
        record["duration"], *_spent(line), _text(line.get("error")), _json(record.get("feedback")),
        _json(line.get("inputs")), _json(line.get("outputs")),
    ))  # fmt: skip
    if line:
        _add_nodes(rows, line, log, record["id"], 0)


def _add_nodes(rows: Rows, line: Mapping[str, Any], log: str, run_id: str, number: int) -> None:
    for node in line["nodes"]:
        prompt, completion = node.get("tokens") or (0, 0)
        rows["flow_nodes"].append((
            log, run_id, number, node["name"], node["type"], node["status"], _text(node.get("error")),
            node.get("started_at"), _took(node), prompt, completion, _text(node.get("model")), node.get("cost"),
            _json(node.get("inputs")), _json(node.get("output")),
        ))  # fmt: skip
        for index, span in enumerate(node.get("spans") or ()):
            _add_span(rows, span, log, run_id, number, node["name"], str(index))


def _add_span(rows: Rows, span: Mapping[str, Any], log: str, run_id: str, number: int, node: str, path: str) -> None:
    prompt, completion = span.get("tokens") or (0, 0)
    rows["spans"].append((
        log, run_id, number, node, path, span["kind"], _text(span["name"]), _text(span.get("error")),
        span.get("started_at"), _took(span), prompt, completion, _text(span.get("model")), span.get("cost"),
        _json(span.get("attributes")), _json(span.get("inputs")), _json(span.get("output")),
    ))  # fmt: skip
    for index, child in enumerate(span.get("spans") or ()):
        _add_span(rows, child, log, run_id, number, node, f"{path}.{index}")


def _spent(line: Mapping[str, Any]) -> tuple[int, int, float | None]:
    tokens = [node.get("tokens") or (0, 0) for node in line.get("nodes") or ()]
    costs = [node["cost"] for node in line.get("nodes") or () if node.get("cost") is not None]
    return sum(each[0] for each in tokens), sum(each[1] for each in tokens), sum(costs) if costs else None


def _began(line: Mapping[str, Any]) -> float | None:
    return min((node["started_at"] for node in line["nodes"] if node.get("started_at")), default=None)


def _took(record: Mapping[str, Any]) -> float | None:
    began, ended = record.get("started_at"), record.get("ended_at")
    return ended - began if began and ended else None


def _json(value: Any) -> str | None:
    return None if value is None else _text(json.dumps(value, ensure_ascii=False))


def _text(text: str | None) -> str | None:
    """Return what the ledger takes: no halves of pairs."""
    return None if text is None else text.encode("utf-8", "replace").decode()

"""Requests to the gateway carried on as traces, into MLflow and to a collector: read from the rows that are kept."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from studiolo import traces
from workspace import Workspace
from workspace.paths import locked, write_atomically
from workspace.tables import events

if TYPE_CHECKING:
    from flows.otel import Asked

PAGE = 1_000  # rows that are read together
MOST = 500  # traces that are carried at one look; what is left waits for the next
BEHIND = 20_000  # rows that may wait: beyond them the oldest are passed over, so that a flood ends
_MARK = ".requests-carried-{to}"
_MORE = {
    "endpoint": "endpoint", "deployment": "deployment", "cohort": "cohort", "token": "key", "mirror_of": "mirror_of",
    "stream": "stream", "asked_by": "asked_by",
}  # fmt: skip

log = logging.getLogger(__name__)


def carry(workspace: Workspace, *, to: traces.Target = "mlflow", most: int = MOST) -> int:
    """Bring requests that are new to where traces go, at most so many, and return how many there were.

    A row that is carried twice, as after a crash, is one trace.
    """
    workspace.spool.ingest()
    mark = workspace.home / "spool" / _MARK.format(to=to)
    if not _page(workspace, _read_mark(mark), 1):
        return 0
    with locked(workspace.home / "mlflow.lock"):
        after = _start(workspace, _read_mark(mark), to)
        found: list[Asked] = []
        for number, ts, row in _rows(workspace, after):
            if len(found) >= most:
                break
            after = number
            if asked := asked_of(row, ts, percent=workspace.settings.traces):
                found.append(asked)
        for _ in traces.send(workspace, found, to=to):
            pass
        write_atomically(mark, str(after))
    return len(found)


def asked_of(row: Mapping[str, Any], ts: float, *, percent: int = 100) -> Asked | None:
    """Return what a span tells of a request's row, None for one that is not sampled."""
    from flows import otel

    traceparent = str(row.get("traceparent") or "")
    # Rows of before have no context of their own: they are traces where nobody asked for less than all.
    if not (otel.recorded(traceparent) if traceparent else percent == 100):
        return None
    duration = float(row.get("duration_ms") or 0.0) / 1e3
    started = float(row.get("started_at") or ts - duration)
    first, used = row.get("first_byte_ms"), row.get("prompt_tokens")
    more = {f"studiolo.{name}": row.get(key) for key, name in _MORE.items()}
    return otel.Asked(
        id=str(row["request_id"]), path=str(row.get("path") or ""),
        asked=str(row.get("asked") or row.get("endpoint") or ""), started_at=started, duration=duration,
        status=int(row.get("status") or 0), traceparent=traceparent, parent=str(row.get("parent_span") or ""),
        error=row.get("error"), engine=row.get("engine"), model=row.get("model"),
        response_id=row.get("response_id"), finish=row.get("finish"),
        tokens=None if used is None else (int(used), int(row.get("completion_tokens") or 0)),
        cost=row.get("cost") or None, first_token=None if first is None else started + first / 1e3,
        more=more | {"studiolo.failures": row.get("failures") or None},
    )  # fmt: skip


def _rows(workspace: Workspace, after: int) -> Iterator[tuple[int, float, dict[str, Any]]]:
    while page := _page(workspace, after, PAGE):
        yield from page
        after = page[-1][0]


def _page(workspace: Workspace, after: int, size: int) -> list[tuple[int, float, dict[str, Any]]]:
    query = select(events.c.seq, events.c.ts, events.c.payload).where(events.c.kind == "request", events.c.seq > after)
    with workspace.database.read() as connection:
        found = connection.execute(query.order_by(events.c.seq).limit(size)).all()
    return [(row.seq, row.ts, row.payload) for row in found]


def _start(workspace: Workspace, after: int, to: str) -> int:
    with workspace.database.read() as connection:
        newest = int(connection.scalar(select(func.max(events.c.seq))) or 0)
    if newest - after > BEHIND:
        log.warning("more requests than %s takes: up to %s of them become no traces", to, newest - BEHIND - after)
        return newest - BEHIND
    return after


def _read_mark(mark: Path) -> int:
    try:
        return int(mark.read_text())
    except (OSError, ValueError):
        return 0  # telling a trace again changes nothing

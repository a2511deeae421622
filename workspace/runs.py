"""Runs: every execution is recorded while it happens, and tells its own lineage."""

from __future__ import annotations

import builtins
import math
import re
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from workspace import processes
from workspace.database import Database
from workspace.errors import Conflict, Invalid, NotFound, did_you_mean
from workspace.lineage import Node, add_edges, ref
from workspace.run import Run as Run
from workspace.run import plain_params
from workspace.run_names import refuse_names
from workspace.spool import Spool
from workspace.tables import metrics, runs

RUNNING, FINISHED, FAILED, KILLED = "RUNNING", "FINISHED", "FAILED", "KILLED"  # MLflow's words
PAUSED = "PAUSED"  # ours: a person must decide something
_NAME = re.compile(r"\w[\w .-]{0,249}")
_LOST = "its process ended without a word"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One run as it was last written. Times are UTC seconds; `metrics` are the last values."""

    run_id: str
    kind: str
    name: str
    status: str
    started_at: float
    ended_at: float | None
    params: Mapping[str, Any]
    tags: Mapping[str, str]
    environment: Mapping[str, Any]
    metrics: Mapping[str, float]
    error: str | None
    directory: Path

    @property
    def ref(self) -> str:
        """What lineage calls it."""
        return f"run:{self.run_id}"

    @property
    def ended(self) -> bool:
        """Whether it is over, well or not."""
        return self.status != RUNNING

    @property
    def duration(self) -> float:
        """Seconds from start to end, or until now."""
        return (time.time() if self.ended_at is None else self.ended_at) - self.started_at


@dataclass(frozen=True, slots=True)
class Metric:
    """One value of one metric."""

    key: str
    step: int
    value: float
    ts: float


class Runs:
    """The runs of one workspace: rows in its database, a directory each under `folder`."""

    def __init__(self, database: Database, spool: Spool, *, folder: Path) -> None:
        self._database = database
        self._spool = spool
        self.folder = folder

    @contextmanager
    def start(
        self,
        kind: str,
        *,
        name: str | None = None,
        inputs: Sequence[Node | str] = (),
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> Iterator[Run]:
        """Record an execution: FINISHED at the end of the block, FAILED by an exception, KILLED by an interrupt.

        >>> with workspace.run("flow", inputs=[questions], params={"variant": "short"}) as run:
        ...     run.log_metrics({"accuracy": 0.8})
        ...     run.output(workspace.assets.put("data", "answers", path))
        """
        run_id = uuid.uuid4().hex
        if not kind.isidentifier() or len(kind) > 32:
            raise Invalid(f"{kind!r} is no kind of run", hint="one short word: flow, eval, job …")
        if name is not None and (not _NAME.fullmatch(name) or re.fullmatch("[0-9a-f]{32}", name)):
            raise Invalid(f"a run cannot be called {name!r}", hint="letters, digits, spaces, '_', '-' and '.'")
        name = name or f"{kind}-{time.strftime('%Y%m%d-%H%M%S')}-{run_id[:4]}"
        sources = [ref(thing) for thing in inputs]
        refuse_names([*(params or {}), *(tags or {})])
        row = {"run_id": run_id, "kind": kind, "name": name, "params": plain_params(params or {})}
        row |= {"tags": {key: str(value) for key, value in (tags or {}).items()}, "environment": {}}
        self._insert(row, [(source, f"run:{run_id}") for source in sources])
        run = Run(self._database, self._spool, run_id=run_id, kind=kind, name=name, directory=self.folder / run_id)
        with run.conducted():
            yield run

    @contextmanager
    def resume(self, run_id: str) -> Iterator[Run]:
        """Go on with a run that was killed or failed; Conflict where it has finished or its owner still lives."""
        record = self.get(run_id)
        if record.status in (RUNNING, FINISHED):
            what = "still runs" if record.status == RUNNING else "has finished"
            raise Conflict(f"run {record.name!r} {what}", hint="start a new run")
        values = _owned() | {"status": RUNNING, "ended_at": None, "error": None, "changed": runs.c.changed + 1}
        mine = update(runs).where(runs.c.run_id == record.run_id, runs.c.status == record.status).values(values)
        with self._database.write() as connection:
            if connection.execute(mine).rowcount != 1:
                raise Conflict(f"run {record.name!r} was taken up by another process")
        run = Run(
            self._database, self._spool,
            run_id=record.run_id, kind=record.kind, name=record.name, directory=record.directory,
        )  # fmt: skip
        with run.conducted():
            yield run

    def get(self, name: str) -> RunRecord:
        """Return a run by id, name, "run:<id>" or the first letters of an id (four or more) that only it has."""
        wanted = name.removeprefix("run:")
        with self._database.read() as connection:
            query = select(runs).where((runs.c.run_id == wanted) | (runs.c.name == name))
            rows = connection.execute(query).all()
            if not rows and re.fullmatch("[0-9a-f]{4,31}", wanted):
                rows = connection.execute(select(runs).where(runs.c.run_id.startswith(wanted)).limit(2)).all()
            if len(rows) > 1:
                raise Invalid(f"more than one run begins with {name!r}", hint="give more letters")
            if not rows:
                known = connection.scalars(select(runs.c.name).order_by(runs.c.started_at.desc()).limit(200)).all()
                raise NotFound(f"no run {name!r}", hint=did_you_mean(name, known[:200]) if known else "no runs yet")
        return self._records(rows)[0]

    def list(self, *, kind: str | None = None, limit: int = 100, offset: int = 0) -> builtins.list[RunRecord]:
        """Return runs, the newest first."""
        query = select(runs).order_by(runs.c.started_at.desc(), runs.c.run_id).limit(limit).offset(offset)
        with self._database.read() as connection:
            rows = connection.execute(query if kind is None else query.where(runs.c.kind == kind)).all()
        return self._records(rows)

    def metrics(self, run_id: str, key: str | None = None) -> builtins.list[Metric]:
        """Return every value that was logged, by key and step."""
        query = select(metrics).where(metrics.c.run_id == run_id)
        query = query if key is None else query.where(metrics.c.key == key)
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(metrics.c.key, metrics.c.step, metrics.c.id)).all()
        return [Metric(row.key, row.step, number(row.value), row.ts) for row in rows]

    def settle(self) -> int:
        """Close the runs of this machine whose processes died without a word; return how many there were."""
        query = select(runs).where(runs.c.status == RUNNING, runs.c.owner_host == processes.host())
        with self._database.read() as connection:
            dead = [row for row in connection.execute(query) if _is_lost(row)]
        for row in dead:
            self._close_lost(row)
        return len(dead)

    def _insert(self, row: dict[str, Any], edges: Sequence[tuple[str, str]]) -> None:
        times = {"status": RUNNING, "started_at": time.time(), "changed": 1, "carried": 0}

        def work(connection: Connection) -> None:
            connection.execute(insert(runs).values(row | _owned() | times))
            add_edges(connection, row["run_id"], edges)

        (self.folder / row["run_id"] / "artifacts").mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            self._database.transact(work)
        except IntegrityError:
            (self.folder / row["run_id"] / "artifacts").rmdir()
            (self.folder / row["run_id"]).rmdir()
            hint = "choose another name, or leave it out"
            raise Conflict(f"there is a run {row['name']!r} already", hint=hint) from None

    def _records(self, rows: Sequence[Row[Any]]) -> builtins.list[RunRecord]:
        last = self._last_values([row.run_id for row in rows])
        records = [_record(row, self.folder, last.get(row.run_id, {})) for row in rows]
        return [
            replace(record, status=KILLED, ended_at=self._close_lost(row), error=_LOST) if _is_lost(row) else record
            for row, record in zip(rows, records, strict=True)
        ]

    def _last_values(self, run_ids: Sequence[str]) -> dict[str, dict[str, float]]:
        place = func.row_number().over(
            partition_by=(metrics.c.run_id, metrics.c.key), order_by=(metrics.c.step.desc(), metrics.c.id.desc())
        )
        found: dict[str, dict[str, float]] = {}
        with self._database.read() as connection:
            for start in range(0, len(run_ids), 500):
                part = metrics.c.run_id.in_(run_ids[start : start + 500])
                ranked = select(metrics.c.run_id, metrics.c.key, metrics.c.value, place.label("place")).where(part)
                ranked_rows = ranked.subquery()
                for row in connection.execute(select(ranked_rows).where(ranked_rows.c.place == 1)):
                    found.setdefault(row.run_id, {})[row.key] = number(row.value)
        return found

    def _close_lost(self, row: Row[Any]) -> float:
        """Write KILLED, if the run is still that dead process's, and return when it was last seen at work."""
        directory = self.folder / row.run_id
        signs = [path.stat().st_mtime for path in directory.iterdir()] if directory.exists() else []
        with self._database.read() as connection:
            signs.append(connection.scalar(select(func.max(metrics.c.ts)).where(metrics.c.run_id == row.run_id)) or 0.0)
        ended_at: float = max(row.started_at, *signs)
        unchanged = (
            (runs.c.run_id == row.run_id)
            & (runs.c.status == RUNNING)
            & (runs.c.owner_pid == row.owner_pid)
            & (runs.c.owner_started_at == row.owner_started_at)
        )
        values = {"status": KILLED, "ended_at": ended_at, "error": _LOST, "changed": runs.c.changed + 1}
        with self._database.write() as connection:
            connection.execute(update(runs).where(unchanged).values(values))
        return ended_at


def number(value: float | None) -> float:
    """Return a metric as it was logged: the database keeps "not a number" as nothing."""
    return math.nan if value is None else value


def _owned() -> dict[str, Any]:
    own = processes.own_identity()
    return {"owner_host": processes.host(), "owner_pid": own.pid, "owner_started_at": own.started_at}


def _is_lost(row: Row[Any]) -> bool:
    owner = processes.Identity(row.owner_pid, row.owner_started_at)
    return row.status == RUNNING and row.owner_host == processes.host() and not processes.is_alive(owner)


def _record(row: Row[Any], folder: Path, last: Mapping[str, float]) -> RunRecord:
    return RunRecord(
        run_id=row.run_id,
        kind=row.kind,
        name=row.name,
        status=row.status,
        started_at=row.started_at,
        ended_at=row.ended_at,
        params=row.params,
        tags=row.tags,
        environment=row.environment,
        metrics=last,
        error=row.error,
        directory=folder / row.run_id,
    )

"""Runs: every execution is recorded while it happens, and tells its own lineage."""

from __future__ import annotations

import builtins
import re
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from workspace import processes
from workspace.errors import Conflict, Invalid, NotFound, did_you_mean
from workspace.light_database import LightDatabase, Row, Statements, from_json, number, to_json
from workspace.nodes import Node, add_edges, ref
from workspace.run import Run as Run
from workspace.run import plain_params
from workspace.run_names import refuse_names
from workspace.spool import Spool

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

    def __init__(self, database: LightDatabase, spool: Spool, *, folder: Path) -> None:
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
        row = {"run_id": run_id, "kind": kind, "name": name, "params": to_json(plain_params(params or {}))}
        row |= {"tags": to_json({key: str(value) for key, value in (tags or {}).items()}), "environment": "{}"}
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
        with self._database.write() as statements:
            taken = statements.change(
                "UPDATE runs SET status = 'RUNNING', ended_at = NULL, error = NULL, changed = changed + 1, "
                "owner_host = :owner_host, owner_pid = :owner_pid, owner_started_at = :owner_started_at "
                "WHERE run_id = :run AND status = :before",
                run=record.run_id, before=record.status, **processes.owned(),
            )  # fmt: skip
            if taken != 1:
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
        rows = self._database.rows("SELECT * FROM runs WHERE run_id = :id OR name = :name", id=wanted, name=name)
        if not rows and re.fullmatch("[0-9a-f]{4,31}", wanted):
            query = "SELECT * FROM runs WHERE run_id LIKE :beginning LIMIT 2"
            rows = self._database.rows(query, beginning=f"{wanted}%")
        if len(rows) > 1:
            raise Invalid(f"more than one run begins with {name!r}", hint="give more letters")
        if not rows:
            newest = self._database.rows("SELECT name FROM runs ORDER BY started_at DESC LIMIT 200")
            known = [row["name"] for row in newest]
            raise NotFound(f"no run {name!r}", hint=did_you_mean(name, known) if known else "no runs yet")
        return self._records(rows)[0]

    def list(self, *, kind: str | None = None, limit: int = 100, offset: int = 0) -> builtins.list[RunRecord]:
        """Return runs, the newest first."""
        of_kind = "" if kind is None else "WHERE kind = :kind "
        query = f"SELECT * FROM runs {of_kind}ORDER BY started_at DESC, run_id LIMIT :most OFFSET :first"
        return self._records(self._database.rows(query, kind=kind, most=limit, first=offset))

    def metrics(self, run_id: str, key: str | None = None) -> builtins.list[Metric]:
        """Return every value that was logged, by key and step."""
        of_key = "" if key is None else "AND key = :key "
        query = f"SELECT * FROM metrics WHERE run_id = :run {of_key}ORDER BY key, step, id"
        rows = self._database.rows(query, run=run_id, key=key)
        return [Metric(row["key"], row["step"], number(row["value"]), row["ts"]) for row in rows]

    def settle(self) -> int:
        """Close the runs of this machine whose processes died without a word; return how many there were."""
        query = "SELECT * FROM runs WHERE status = 'RUNNING' AND owner_host = :host"
        dead = [row for row in self._database.rows(query, host=processes.host()) if _is_lost(row)]
        return sum(self._close_lost(row) is not None for row in dead)

    def _insert(self, row: Row, edges: Sequence[tuple[str, str]]) -> None:
        folder = self.folder / row["run_id"] / "artifacts"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

        def work(statements: Statements) -> int:
            made = statements.change(
                "INSERT INTO runs (run_id, kind, name, status, started_at, params, tags, environment, "
                "owner_host, owner_pid, owner_started_at, changed, carried) VALUES (:run_id, :kind, :name, 'RUNNING', "
                ":now, :params, :tags, :environment, :owner_host, :owner_pid, :owner_started_at, 1, 0) "
                "ON CONFLICT (name) DO NOTHING",
                now=time.time(), **row, **processes.owned(),
            )  # fmt: skip
            if made:
                add_edges(statements, row["run_id"], edges)
            return made

        if not self._database.transact(work):
            folder.rmdir()
            folder.parent.rmdir()
            raise Conflict(f"there is a run {row['name']!r} already", hint="choose another name, or leave it out")

    def _records(self, rows: Sequence[Row]) -> builtins.list[RunRecord]:
        last = self._last_values([row["run_id"] for row in rows])
        records = [_record(row, self.folder, last.get(row["run_id"], {})) for row in rows]
        return [
            self._as_left(row, record) if _is_lost(row) else record for row, record in zip(rows, records, strict=True)
        ]

    def _as_left(self, row: Row, record: RunRecord) -> RunRecord:
        """Return a run whose process is gone as it left it: it may have ended, or been resumed, since it was read."""
        ended_at = self._close_lost(row)
        if ended_at is not None:
            return replace(record, status=KILLED, ended_at=ended_at, error=_LOST)
        return self._records(self._database.rows("SELECT * FROM runs WHERE run_id = :id", id=record.run_id))[0]

    def _last_values(self, run_ids: Sequence[str]) -> dict[str, dict[str, float]]:
        found: dict[str, dict[str, float]] = {}
        for start in range(0, len(run_ids), 500):
            part = {f"r{place}": run_id for place, run_id in enumerate(run_ids[start : start + 500])}
            ranked = (
                "SELECT run_id, key, value, row_number() OVER (PARTITION BY run_id, key ORDER BY step DESC, id DESC) "
                f"AS place FROM metrics WHERE run_id IN ({', '.join(f':{name}' for name in part)})"
            )
            query = f"SELECT run_id, key, value FROM ({ranked}) AS ranked WHERE place = 1"
            for row in self._database.rows(query, **part):
                found.setdefault(row["run_id"], {})[row["key"]] = number(row["value"])
        return found

    def _close_lost(self, row: Row) -> float | None:
        """Write KILLED and return when it was last seen at work; None where it is not that dead process's any more."""
        directory = self.folder / row["run_id"]
        signs = [path.stat().st_mtime for path in directory.iterdir()] if directory.exists() else []
        logged = self._database.rows("SELECT max(ts) AS last FROM metrics WHERE run_id = :run", run=row["run_id"])
        ended_at: float = max(row["started_at"], logged[0]["last"] or 0.0, *signs)
        with self._database.write() as statements:
            closed = statements.change(
                "UPDATE runs SET status = :killed, ended_at = :ended_at, error = :error, changed = changed + 1 "
                "WHERE run_id = :run_id AND status = 'RUNNING' AND owner_pid = :owner_pid "
                "AND owner_started_at = :owner_started_at",
                killed=KILLED, ended_at=ended_at, error=_LOST,
                **{name: row[name] for name in ("run_id", "owner_pid", "owner_started_at")},
            )  # fmt: skip
        return ended_at if closed else None


def _is_lost(row: Row) -> bool:
    owner = processes.Identity(row["owner_pid"], row["owner_started_at"])
    return row["status"] == RUNNING and row["owner_host"] == processes.host() and not processes.is_alive(owner)


def _record(row: Row, folder: Path, last: Mapping[str, float]) -> RunRecord:
    return RunRecord(
        run_id=row["run_id"],
        kind=row["kind"],
        name=row["name"],
        status=row["status"],
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        params=from_json(row["params"]),
        tags=from_json(row["tags"]),
        environment=from_json(row["environment"]),
        metrics=last,
        error=row["error"],
        directory=folder / row["run_id"],
    )

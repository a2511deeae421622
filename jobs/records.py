"""Jobs as the database knows them: each reaches exactly one terminal status, by compare-and-set."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, insert, select, update

from jobs.leftovers import end_leftovers
from workspace.errors import Conflict, NotFound, did_you_mean
from workspace.home import Workspace
from workspace.processes import Identity, is_alive
from workspace.tables import jobs

TERMINAL = frozenset({"Completed", "Failed", "Canceled"})


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """One job. Times are UTC seconds; `run_id` is its run once a shim has begun it."""

    name: str
    kind: str
    status: str
    spec: Mapping[str, Any]
    run_id: str | None
    exit_code: int | None
    error: str | None
    submitted_at: float
    started_at: float | None
    ended_at: float | None
    shim: Identity | None

    @property
    def ended(self) -> bool:
        """Whether the status is one that never changes again."""
        return self.status in TERMINAL


def add(workspace: Workspace, name: str, kind: str, spec: Mapping[str, Any]) -> JobRecord:
    """Write a job as Queued; once this returns the job is not lost. Conflict where the name is taken."""
    with workspace.database.write() as connection:
        if connection.execute(select(jobs.c.name).where(jobs.c.name == name)).first():
            raise Conflict(f"there is a job {name!r} already", hint="leave `name` out to have one made")
        connection.execute(
            insert(jobs).values(name=name, kind=kind, status="Queued", spec=dict(spec), submitted_at=time.time())
        )
    return get(workspace, name)


def get(workspace: Workspace, name: str) -> JobRecord:
    """Return one job; a job whose shim died without a word is closed as Failed first."""
    with workspace.database.read() as connection:
        row = connection.execute(select(jobs).where(jobs.c.name == name)).first()
        if row is None:
            known = connection.scalars(select(jobs.c.name).order_by(jobs.c.submitted_at.desc()).limit(50)).all()
            raise NotFound(f"no job {name!r}", hint=did_you_mean(name, known))
    return _reconciled(workspace, _record(row))


def list_jobs(workspace: Workspace, *, limit: int = 100) -> list[JobRecord]:
    """Return the newest jobs first."""
    with workspace.database.read() as connection:
        rows = connection.execute(select(jobs).order_by(jobs.c.submitted_at.desc()).limit(limit)).all()
    return [_reconciled(workspace, _record(row)) for row in rows]


def move(workspace: Workspace, name: str, *, old: tuple[str, ...], new: str, **values: object) -> bool:
    """Change the status if it is still one of `old`; return whether this call did it."""
    statement = update(jobs).where(jobs.c.name == name, jobs.c.status.in_(old)).values(status=new, **values)
    with workspace.database.write() as connection:
        return connection.execute(statement).rowcount == 1


def _reconciled(workspace: Workspace, job: JobRecord) -> JobRecord:
    if job.ended or job.shim is None or is_alive(job.shim):
        return job
    end_leftovers(job.name)
    old = ("Starting", "Running", "CancelRequested")
    lost = "its supervising process died; `studiolo job create` runs it again"
    move(workspace, job.name, old=old, new="Failed", error=lost, ended_at=time.time())
    return get(workspace, job.name)


def _record(row: Row[Any]) -> JobRecord:
    values = dict(row._mapping)
    pid, started = values.pop("shim_pid"), values.pop("shim_started_at")
    return JobRecord(**values, shim=None if pid is None else Identity(pid, started))

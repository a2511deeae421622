"""Jobs and their attempts as the database knows them."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from jobs import reconcile, states
from jobs.folders import attempt_folder
from jobs.needs import Needs
from jobs.states import TERMINAL
from workspace.errors import Invalid, NotFound, did_you_mean
from workspace.home import Workspace
from workspace.light_database import Row, from_json, to_json
from workspace.processes import Identity, host

SILENT = 30.0  # seconds without a sign after which a living shim is said not to respond
# What people say of a job, and where it is kept.
CHANGING = {
    "display_name": "display_name", "experiment_name": "experiment", "description": "description", "tags": "tags",
    "properties": "properties",
}  # fmt: skip
_LONGEST_SAMPLE = 4096  # bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRecord:
    """One time that the command was run, or was about to be."""

    number: int
    status: str
    host: str
    boot: str
    shim: Identity
    devices: tuple[str, ...]
    started_at: float
    ended_at: float | None
    exit_code: int | None
    error: str | None
    usage: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """One job. Times are UTC seconds; `usage` is what all attempts took together."""

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
    attempt: int
    retries: int
    priority: int
    needs: Needs
    parent: str | None
    display_name: str | None
    experiment: str | None
    description: str | None
    tags: Mapping[str, str]
    properties: Mapping[str, str]
    usage: Mapping[str, Any]
    archived_at: float | None
    shim: Identity | None
    host: str | None  # the machine of its shim

    @property
    def ended(self) -> bool:
        """Whether the status is one that never changes again."""
        return self.status in TERMINAL


_JOBS = (
    "SELECT j.*, a.shim_pid, a.shim_started_at, a.host FROM jobs j "
    "LEFT JOIN attempts a ON a.job = j.name AND a.number = j.attempt "
)


def get(workspace: Workspace, name: str) -> JobRecord:
    """Return one job, by its name or the id of its run; what a dead shim has left is settled first."""
    job = _found(workspace, name)
    if job.status not in states.ACTIVE:
        return job
    if reconcile.settle(workspace, job.name):
        return _found(workspace, name)
    return replace(job, status=states.NOT_RESPONDING) if _is_silent(workspace, job) else job


def list_jobs(
    workspace: Workspace, *, limit: int = 100, parent: str | None = None, archived: bool = False, active: bool = True
) -> list[JobRecord]:
    """Return the newest jobs first, or the children of one; those that are archived, those that are not, or both.

    `parent=""` leaves out the children of others.
    """
    reconcile.look(workspace)
    conditions = ["j.archived_at IS NULL"] if not archived else []
    conditions += ["j.archived_at IS NOT NULL"] if not active else []
    conditions += ["j.parent IS NULL"] if parent == "" else ["j.parent = :parent"] if parent else []
    where = f"WHERE {' AND '.join(conditions)} " if conditions else ""
    query = f"{_JOBS}{where}ORDER BY j.submitted_at DESC, j.name LIMIT :most"
    return [_record(row) for row in workspace.light.rows(query, most=limit, parent=parent)]


def attempts(workspace: Workspace, name: str) -> list[AttemptRecord]:
    """Return the attempts of a job, the first one first."""
    rows = workspace.light.rows("SELECT * FROM attempts WHERE job = :name ORDER BY number", name=name)
    return [
        AttemptRecord(
            number=row["number"], status=row["status"], host=row["host"], boot=row["boot"],
            shim=Identity(row["shim_pid"], row["shim_started_at"]), devices=tuple(from_json(row["devices"])),
            started_at=row["started_at"], ended_at=row["ended_at"], exit_code=row["exit_code"], error=row["error"],
            usage=from_json(row["usage"]) or {},
        )
        for row in rows
    ]  # fmt: skip


def archive(workspace: Workspace, name: str, *, archived: bool = True) -> JobRecord:
    """Take a job out of the lists, or back into them."""
    job = get(workspace, name)
    moment = time.time() if archived else None
    with workspace.light.write() as statements:
        statements.change("UPDATE jobs SET archived_at = :moment WHERE name = :name", moment=moment, name=job.name)
    return get(workspace, name)


def change(workspace: Workspace, name: str, words: Mapping[str, Any]) -> JobRecord:
    """Change what people say of a job: its display_name, experiment_name, description, tags, properties."""
    job = get(workspace, name)
    if alien := sorted(set(words) - set(CHANGING)):
        raise Invalid(f"{alien[0]!r} of a job cannot be changed", hint=f"these can: {', '.join(CHANGING)}")
    values = {key: to_json(dict(value)) if isinstance(value, Mapping) else value for key, value in words.items()}
    if values:
        wanted = ", ".join(f"{CHANGING[key]} = :{key}" for key in values)
        with workspace.light.write() as statements:
            statements.change(f"UPDATE jobs SET {wanted} WHERE name = :name", name=job.name, **values)
    return get(workspace, name)


def _found(workspace: Workspace, name: str) -> JobRecord:
    rows = workspace.light.rows(f"{_JOBS} WHERE j.name = :name OR j.run_id = :name", name=name)
    if not rows:
        query = "SELECT name FROM jobs ORDER BY submitted_at DESC LIMIT 50"
        known = [row["name"] for row in workspace.light.rows(query)]
        raise NotFound(f"no job {name!r}", hint=did_you_mean(name, known))
    return _record(rows[0])


def _is_silent(workspace: Workspace, job: JobRecord) -> bool:
    """Whether the shim, which lives, has given no sign for long: somebody has stopped it, or the machine is overrun."""
    if job.host != host():
        return False  # its clock is another one
    try:
        with attempt_folder(workspace.home, job.name, job.attempt).samples.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _LONGEST_SAMPLE))
            last = json.loads(file.read().splitlines()[-1])
    except (FileNotFoundError, IndexError, ValueError):
        return False  # it has just begun, or a full disk has cut the line
    # Not the time of the file: a clock that jumps makes nobody silent.
    return bool(time.monotonic() - last["monotonic"] > SILENT)


def _record(row: Row) -> JobRecord:
    pid, since = row["shim_pid"], row["shim_started_at"]
    return JobRecord(
        name=row["name"],
        kind=row["kind"],
        status=row["status"],
        spec=from_json(row["spec"]),
        run_id=row["run_id"],
        exit_code=row["exit_code"],
        error=row["error"],
        submitted_at=row["submitted_at"],
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        attempt=row["attempt"],
        retries=row["retries"],
        priority=row["priority"],
        needs=Needs(cpus=row["cpus"], gpus=row["gpus"], memory=row["memory"]),
        parent=row["parent"],
        display_name=row["display_name"],
        experiment=row["experiment"],
        description=row["description"],
        tags=from_json(row["tags"]) or {},
        properties=from_json(row["properties"]) or {},
        usage=from_json(row["usage"]) or {},
        archived_at=row["archived_at"],
        shim=None if pid is None else Identity(pid, since),
        host=row["host"],
    )

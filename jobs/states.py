"""How a job goes from one status to the next: by compare-and-set, whoever does it, so that it ends exactly once."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jobs.needs import Capacity, Needs, devices_for
from jobs.spec import Spec
from workspace.errors import Conflict
from workspace.light_database import LightDatabase, Row, Statements, from_json, to_json
from workspace.processes import boot, host, own_identity
from workspace.run_events import WORDS, lineage_event

# Azure ML's words.
QUEUED = "Queued"
STARTING, PREPARING, RUNNING = "Starting", "Preparing", "Running"
CANCEL_REQUESTED, FINALIZING = "CancelRequested", "Finalizing"
COMPLETED, FAILED, CANCELED = "Completed", "Failed", "Canceled"
NOT_RESPONDING = "NotResponding"  # shown, never written: the shim lives and gives no sign
LOST = "Lost"  # of an attempt: its shim died without a word

TERMINAL = frozenset({COMPLETED, FAILED, CANCELED})
ACTIVE = (STARTING, PREPARING, RUNNING, CANCEL_REQUESTED, FINALIZING)  # somebody owns it
TAKING = (STARTING, PREPARING, RUNNING, CANCEL_REQUESTED)  # it takes what it needs
UNBEGUN = 5  # attempts that may die before the command began; those are made again without being counted

_SUBJECT = "jobs"
_RUN_STATUS = {COMPLETED: "FINISHED", FAILED: "FAILED", CANCELED: "KILLED"}
_ORDER = "ORDER BY priority, submitted_at, name LIMIT 1"
_WAITING = "SELECT name, cpus, gpus, memory FROM jobs WHERE place = :place AND status = 'Queued'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A job that this process, and no other, runs."""

    name: str
    number: int
    spec: Spec
    devices: tuple[str, ...]  # the GPUs that are its alone
    visible: tuple[str, ...] | None  # the GPUs that it may see; None: all


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How an attempt ended. `counts`: whether another attempt may be made of it."""

    status: str
    code: int | None = None
    error: str | None = None
    usage: Mapping[str, Any] = field(default_factory=dict)
    again: bool = True


def add(database: LightDatabase, row: Mapping[str, Any]) -> None:
    """Write a job as Queued; once this returns the job is not lost. Conflict where the name is taken."""
    columns = ", ".join(row)
    values = ", ".join(f":{name}" for name in row)
    with database.write(hold=(_SUBJECT,)) as statements:
        if statements.rows("SELECT name FROM jobs WHERE name = :name", name=row["name"]):
            raise Conflict(f"there is a job {row['name']!r} already", hint="leave `name` out to have one made")
        statements.change(f"INSERT INTO jobs ({columns}) VALUES ({values})", **row)


def is_room(database: LightDatabase, place: str, capacity: Capacity) -> bool:
    """Whether a queued job could start now."""
    if not database.rows(f"{_WAITING} LIMIT 1", place=place):
        return False
    return _next(database, place, _room(database, place, capacity)) is not None


def claim(database: LightDatabase, place: str, capacity: Capacity) -> Claimed | None:
    """Take the next job that there is room for and begin an attempt; None where nothing is to be done now."""
    with database.write(hold=(_SUBJECT, "events")) as statements:
        taken = _taken(statements, place)
        while found := _next(statements, place, _room(statements, place, capacity)):
            name, needs = found["name"], _needs(found)
            row = statements.rows("SELECT attempt, spec FROM jobs WHERE name = :name", name=name)[0]
            if (spec := _readable(statements, name, row)) is not None:
                break
        else:
            return None
        number = row["attempt"] + 1
        held = [from_json(each["devices"]) for each in taken]
        devices = devices_for(needs, capacity, held)
        _begin(statements, name, number, devices)
        _begin_run(statements, name, spec)
        visible = devices or (capacity.without(held) if any(held) else None)
        return Claimed(name=name, number=number, spec=spec, devices=devices, visible=visible)


def readable(database: LightDatabase, name: str) -> Spec | None:
    """Return what a job is told whose shim died; one that nobody can read fails, and so does its attempt."""
    with database.write(hold=(_SUBJECT,)) as statements:
        row = statements.rows("SELECT spec FROM jobs WHERE name = :name", name=name)[0]
        if (spec := _readable(statements, name, row)) is None:
            lost = f"UPDATE attempts SET status = 'Lost', ended_at = :now WHERE job = :name AND status IN {ACTIVE!r}"
            statements.change(lost, name=name, now=time.time())
        return spec


def _readable(statements: Statements, name: str, row: Row) -> Spec | None:
    """Return what the job is told; one that nobody can read fails, and does not stand in the others' way."""
    try:
        return Spec.of(from_json(row["spec"]))
    except (TypeError, ValueError, AttributeError) as problem:
        statements.change(
            "UPDATE jobs SET status = 'Failed', error = :error, ended_at = :now WHERE name = :name",
            name=name, error=f"its record cannot be read: {problem}", now=time.time(),
        )  # fmt: skip
        return None


def move(database: LightDatabase, name: str, number: int, *, old: tuple[str, ...], new: str) -> bool:
    """Change the status of a job that is at this attempt, if it is still one of `old`; return whether this did it."""
    with database.write(durable=False) as statements:
        return _move(statements, name, number, old=old, new=new)


def status_of(database: LightDatabase, name: str) -> str:
    """Return the status of a job now."""
    return str(database.rows("SELECT status FROM jobs WHERE name = :name", name=name)[0]["status"])


def ask_to_cancel(database: LightDatabase, name: str) -> str:
    """Have a job end, and return its status now: one that has not begun has ended."""
    now = time.time()
    with database.write(hold=(_SUBJECT, "events", "metrics")) as statements:
        row = statements.rows("SELECT status, attempt, spec FROM jobs WHERE name = :name", name=name)[0]
        if row["status"] == QUEUED:
            if row["attempt"]:
                spec = Spec.of(from_json(row["spec"]))
                _end_run(statements, name, spec, Ending(status=CANCELED), status=CANCELED, outputs=())
            statements.change(
                "UPDATE jobs SET status = 'Canceled', ended_at = :now WHERE name = :name", name=name, now=now
            )
            return CANCELED
        if row["status"] not in (STARTING, PREPARING, RUNNING):
            return str(row["status"])
        _move(statements, name, row["attempt"], old=(STARTING, PREPARING, RUNNING), new=CANCEL_REQUESTED)
        return CANCEL_REQUESTED


def close(database: LightDatabase, name: str, number: int, ending: Ending, outputs: tuple[str, ...] = ()) -> str | None:
    """End an attempt, and the job with it unless another attempt is to be made; None where somebody did it before."""
    with database.write(hold=(_SUBJECT, "events", "metrics")) as statements:
        query = "SELECT status, retries, failures, usage, spec FROM jobs WHERE name = :name AND attempt = :number"
        rows = statements.rows(query, name=name, number=number)
        if not rows or rows[0]["status"] not in ACTIVE:
            return None
        job = rows[0]
        _close_attempt(statements, name, number, ending)
        status = _status_after(job, number, ending)
        usage = _sum(from_json(job["usage"]) or {}, ending.usage)
        values = {
            "name": name, "status": status, "code": ending.code, "error": ending.error, "usage": to_json(usage),
            "counted": 1 if ending.status in (FAILED, LOST) and ending.again else 0,
            "ended": time.time() if status in TERMINAL else None,
        }  # fmt: skip
        statements.change(
            "UPDATE jobs SET status = :status, exit_code = :code, error = :error, usage = :usage, "
            "failures = failures + :counted, ended_at = :ended WHERE name = :name",
            **values,
        )
        if status in TERMINAL:
            _end_run(statements, name, Spec.of(from_json(job["spec"])), ending, status=status, outputs=outputs)
        return status


def _status_after(job: Row, number: int, ending: Ending) -> str:
    if ending.status == LOST and job["status"] == CANCEL_REQUESTED:
        return CANCELED
    if ending.status in (COMPLETED, CANCELED):
        return ending.status
    if job["status"] == CANCEL_REQUESTED or (not ending.again and ending.status == FAILED):
        return FAILED
    if not ending.again:  # it died before the command began
        return QUEUED if number - job["failures"] < UNBEGUN else FAILED
    return QUEUED if job["failures"] < job["retries"] else FAILED


def _next(statements: Statements | LightDatabase, place: str, room: Needs) -> Row | None:
    """Return the job that goes next. One that must wait is not overtaken by those who would take what it waits for."""
    first = statements.rows(f"{_WAITING} {_ORDER}", place=place)
    if not first or _needs(first[0]).fits(room):
        return first[0] if first else None
    left = room.less(_needs(first[0]))
    rest = f"{_WAITING} AND cpus <= :cpus AND gpus <= :gpus AND memory <= :memory {_ORDER}"
    found = statements.rows(rest, place=place, cpus=left.cpus, gpus=left.gpus, memory=left.memory)
    return found[0] if found else None


def _room(statements: Statements | LightDatabase, place: str, capacity: Capacity) -> Needs:
    room = capacity.room
    for row in _taken(statements, place):
        room = room.less(_needs(row))
    return room


def _taken(statements: Statements | LightDatabase, place: str) -> list[Row]:
    query = (
        "SELECT j.cpus, j.gpus, j.memory, a.devices FROM jobs j JOIN attempts a ON a.job = j.name "
        f"AND a.number = j.attempt WHERE j.place = :place AND j.status IN {TAKING!r}"
    )
    return statements.rows(query, place=place)


def _needs(row: Row) -> Needs:
    return Needs(cpus=row["cpus"], gpus=row["gpus"], memory=row["memory"])


def _begin(statements: Statements, name: str, number: int, devices: tuple[str, ...]) -> None:
    own, now = own_identity(), time.time()
    statements.change(
        "UPDATE jobs SET status = 'Starting', attempt = :number, started_at = COALESCE(started_at, :now), "
        "exit_code = NULL, error = NULL WHERE name = :name",
        name=name, number=number, now=now,
    )  # fmt: skip
    statements.change(
        "INSERT INTO attempts (job, number, status, host, boot, shim_pid, shim_started_at, devices, started_at) "
        "VALUES (:name, :number, 'Starting', :host, :boot, :pid, :since, :devices, :now)",
        name=name, number=number, host=host(), boot=boot(), pid=own.pid, since=own.started_at,
        devices=to_json(devices), now=now,
    )  # fmt: skip


def _move(statements: Statements, name: str, number: int, *, old: tuple[str, ...], new: str) -> bool:
    known = "(" + ", ".join(f"'{each}'" for each in old) + ")"
    where = f"WHERE name = :name AND attempt = :number AND status IN {known}"
    if not statements.change(f"UPDATE jobs SET status = :new {where}", name=name, number=number, new=new):
        return False
    statements.change(
        "UPDATE attempts SET status = :new WHERE job = :name AND number = :number", name=name, number=number, new=new
    )
    return True


def _close_attempt(statements: Statements, name: str, number: int, ending: Ending) -> None:
    statements.change(
        "UPDATE attempts SET status = :status, exit_code = :code, error = :error, usage = :usage, ended_at = :now "
        "WHERE job = :name AND number = :number",
        name=name, number=number, status=ending.status, code=ending.code, error=ending.error,
        usage=to_json(dict(ending.usage)), now=time.time(),
    )  # fmt: skip


def _begin_run(statements: Statements, name: str, spec: Spec) -> None:
    own, now = own_identity(), time.time()
    owner = {"host": host(), "pid": own.pid, "since": own.started_at, "run": spec.run_id}
    again = statements.change(
        "UPDATE runs SET status = 'RUNNING', ended_at = NULL, error = NULL, changed = changed + 1, "
        "owner_host = :host, owner_pid = :pid, owner_started_at = :since WHERE run_id = :run",
        **owner,
    )
    if again:
        return
    taken = statements.rows("SELECT run_id FROM runs WHERE name = :name", name=run_name(name))
    called = f"{run_name(name)}-{spec.run_id[:8]}" if taken else run_name(name)
    statements.change(
        "INSERT INTO runs (run_id, kind, name, status, started_at, params, tags, environment, "
        "owner_host, owner_pid, owner_started_at, changed, carried) VALUES (:run, 'job', :name, 'RUNNING', :now, "
        ":params, :tags, :environment, :host, :pid, :since, 1, 0)",
        name=called, now=now, params=to_json(spec.params), tags=to_json(_tags(name, spec)),
        environment=to_json(spec.made_with), **owner,
    )  # fmt: skip
    _connect(statements, spec.run_id, [(source, f"run:{spec.run_id}") for source in spec.reads], now)
    _tell(statements, lineage_event("START", run_id=spec.run_id, kind="job", name=run_name(name)), spec.run_id)


def _end_run(
    statements: Statements, name: str, spec: Spec, ending: Ending, *, status: str, outputs: tuple[str, ...]
) -> None:
    word = _RUN_STATUS[status]
    error = ending.error or (None if word == "FINISHED" else f"the job {status.lower()} with exit code {ending.code}")
    run, now = f"run:{spec.run_id}", time.time()
    known = statements.rows("SELECT tags FROM runs WHERE run_id = :run", run=spec.run_id)
    said = from_json(known[0]["tags"]) if known else _tags(name, spec)  # the command has perhaps set some
    tags = said | {"exit_code": str(ending.code), "job_status": status}
    statements.change(
        "UPDATE runs SET status = :status, ended_at = :now, error = :error, tags = :tags, changed = changed + 1 "
        "WHERE run_id = :run",
        run=spec.run_id, status=word, now=now, error=error, tags=to_json(tags),
    )  # fmt: skip
    for key, value in ending.usage.items():
        statements.change(
            "INSERT INTO metrics (run_id, key, step, value, ts) VALUES (:run, :key, 0, :value, :now)",
            run=spec.run_id, key=f"usage/{key}", value=float(value), now=now,
        )  # fmt: skip
    _connect(statements, spec.run_id, [(run, target) for target in outputs], now)
    event = lineage_event(
        WORDS[word], run_id=spec.run_id, kind="job", name=run_name(name), inputs=spec.reads, outputs=outputs
    )
    _tell(statements, event, spec.run_id)


def run_name(job: str) -> str:
    """Return what the run of a job is called."""
    return f"job-{job}"[:240]


def _tags(name: str, spec: Spec) -> dict[str, str]:
    experiment = {"studiolo.experiment": spec.experiment} if spec.experiment else {}
    return {**spec.tags, **experiment, "studiolo.job": name}


def _connect(statements: Statements, run_id: str, pairs: list[tuple[str, str]], now: float) -> None:
    for index, (source, target) in enumerate(pairs):
        statements.change(
            "INSERT INTO edges (source, target, run_id, created_at) VALUES (:source, :target, :run, :now) "
            "ON CONFLICT DO NOTHING",
            source=source, target=target, run=run_id, now=now + index * 1e-6,
        )  # fmt: skip


def _tell(statements: Statements, event: Mapping[str, Any], run_id: str) -> None:
    statements.change(
        "INSERT INTO events (event_id, kind, ts, run_id, payload) VALUES (:id, 'lineage', :now, :run, :payload)",
        id=uuid.uuid4().hex, now=time.time(), run=run_id, payload=to_json(event),
    )  # fmt: skip


def _sum(before: Mapping[str, float], more: Mapping[str, float]) -> dict[str, float]:
    """Add up what attempts took; of peaks the highest counts."""
    found = dict(before)
    for key, value in more.items():
        found[key] = max(found.get(key, 0), value) if key.startswith("peak") else found.get(key, 0) + value
    return found

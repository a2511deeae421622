"""Firing: each moment at which a schedule is due becomes one job, whoever looks at the clock and whoever dies.

First a firing is written down, by compare-and-set on the moment that is due; then its job, whose name the firing
knows, is made. Who finds a firing whose maker died goes on with it: a job of that name is never made twice.
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from jobs import foreign, records
from jobs.create import create
from jobs.folders import place_of
from jobs.owners import is_left
from jobs.schedules import definition, store
from jobs.schedules.store import ScheduleRecord
from jobs.submit import Wishes
from workspace.errors import Conflict, Invalid, StudioloError, Unavailable
from workspace.home import Workspace
from workspace.processes import owned
from workspace.tables import firings, schedules

EVERY = 1.0  # seconds between two looks at the clock
LATE = 60.0  # seconds after which a firing counts as missed
AT_ONCE = 100  # missed firings that are made up for in one look at the clock
TRIES = 10  # that fail because something is not to be had: the disk, the database
LONGEST_PAUSE = 60.0  # seconds between two of them
KEPT = 30 * 86_400.0  # seconds for which firings, and the keys of those who asked, are known
SCHEDULE, FIRING = "studiolo.schedule", "studiolo.firing"  # properties of the job

WAITING, STARTING, STARTED, FAILED = "waiting", "starting", "started", "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Firing:
    """One time that a schedule was fired; `cause` is clock, hand or http."""

    schedule: str
    key: str
    due: float
    cause: str
    parameters: Mapping[str, Any]
    missed: int
    status: str
    job: str
    error: str | None
    tries: int
    created_at: float


def tick(workspace: Workspace, now: float, wishes: Wishes | None = None) -> list[Firing]:
    """Fire what is due and go on with what was begun; return the firings that have come to an end."""
    for schedule in store.due(workspace, now):
        _claim(workspace, schedule, now)
    found = []
    for row in _waiting(workspace, now):
        if _take(workspace, row, now):
            found.append(_start(workspace, _firing(row), now, wishes))
    return found


def ask(
    workspace: Workspace, name: str, parameters: Mapping[str, Any], *, now: float, cause: str = "hand", key: str = ""
) -> tuple[Firing, bool]:
    """Write a firing down that somebody asks for; return it, and whether this is new.

    Who asks twice with one key means the same firing: it is returned. Conflict where the parameters are others.
    """
    definition.check_parameters(parameters)
    schedule = store.get(workspace, name)
    key = f"{cause}:{key}" if key else f"{cause}:{secrets.token_hex(8)}"
    row = _row(schedule, now, key=key, cause=cause, now=now) | {"parameters": dict(parameters)}
    row["job"] += f"-{secrets.token_hex(3)}"

    def write(connection: Connection) -> tuple[Firing, bool]:
        workspace.database.hold(connection, "schedules")
        found = connection.execute(select(firings).filter_by(schedule=name, key=key)).first()
        if found is None:
            connection.execute(insert(firings).values(row))
            found = connection.execute(select(firings).filter_by(schedule=name, key=key)).one()
            return _firing(found), True
        if found.parameters != row["parameters"]:
            raise Conflict("this key was used with other parameters", hint="a new firing needs a key of its own")
        return _firing(found), False

    return workspace.database.transact(write)


def trigger(
    workspace: Workspace, name: str, parameters: Mapping[str, Any] | None = None, *, now: float,
    wishes: Wishes | None = None, cause: str = "hand", key: str = "",
) -> tuple[Firing, bool]:  # fmt: skip
    """Fire a schedule now, enabled or not; return the firing, and whether it is new. Raises what kept it from a job."""
    firing, is_new = ask(workspace, name, parameters or {}, now=now, cause=cause, key=key)
    if is_new and _take(workspace, _reread(workspace, firing), now):
        firing = _start(workspace, firing, now, wishes)
    if firing.status == FAILED:
        raise Invalid(f"schedule {name!r} could not be fired: {firing.error}")
    return firing, is_new


def listed(workspace: Workspace, name: str, *, limit: int = 20) -> list[Firing]:
    """Return the newest firings of a schedule first."""
    query = select(firings).filter_by(schedule=name).order_by(firings.c.created_at.desc(), firings.c.due.desc())
    with workspace.database.read() as connection:
        return [_firing(row) for row in connection.execute(query.limit(limit))]


def _claim(workspace: Workspace, schedule: ScheduleRecord, now: float) -> None:
    """Write down what a schedule is due for, unless somebody else has."""
    wanted, following = _wanted(schedule, now)
    rows = [
        _row(schedule, due, key=f"clock:{due!r}", cause="clock", now=now) | {"missed": missed} for due, missed in wanted
    ]
    mine = update(schedules).filter_by(name=schedule.name, next_due=schedule.next_due, updated_at=schedule.updated_at)
    old = delete(firings).where(firings.c.schedule == schedule.name, firings.c.created_at < now - KEPT)

    def write(connection: Connection) -> None:
        if connection.execute(mine.where(schedules.c.enabled).values(next_due=following)).rowcount != 1:
            return
        connection.execute(old.where(firings.c.status.in_((STARTED, FAILED))))
        if rows:
            connection.execute(insert(firings), rows)

    workspace.database.transact(write)


def _wanted(schedule: ScheduleRecord, now: float) -> tuple[list[tuple[float, int]], float | None]:
    """Return the moments to fire, each with how many before it are left out, and the one that is due after them."""
    policy = definition.catch_up(schedule.spec)
    coming = schedule.dues(schedule.next_due or now)
    found: list[tuple[float, int]] = []
    left_out = 0
    for due in itertools.chain([schedule.next_due or now], coming):
        if due > now or len(found) >= AT_ONCE:
            break
        if policy == "all" or due >= now - LATE:
            found.append((due, left_out))
            left_out = 0
        else:
            left_out, last = left_out + 1, due
    else:
        due = None
    if policy == "last" and left_out and not found:
        found = [(last, left_out - 1)]
    return found, due


def _row(schedule: ScheduleRecord, due: float, *, key: str, cause: str, now: float) -> dict[str, Any]:
    return {
        "schedule": schedule.name, "key": key, "due": due, "cause": cause, "parameters": {}, "missed": 0,
        "status": WAITING, "job": f"{schedule.name}-{datetime.fromtimestamp(due, UTC):%Y%m%dT%H%M%SZ}", "error": None,
        "tries": 0, "next_at": now, "created_at": now,
    }  # fmt: skip


def _waiting(workspace: Workspace, now: float) -> Iterator[Row[Any]]:
    """Yield the firings of this place that nobody living is at work on, the oldest first."""
    mine = select(schedules.c.name).filter_by(place=place_of(workspace.home))
    query = select(firings).where(firings.c.status.in_((WAITING, STARTING)), firings.c.next_at <= now)
    query = query.where(firings.c.schedule.in_(mine)).order_by(firings.c.due, firings.c.key)
    with workspace.database.read() as connection:
        rows = connection.execute(query.limit(AT_ONCE)).all()
    yield from (row for row in rows if row.status == WAITING or is_left(row, now))


def _take(workspace: Workspace, row: Row[Any], now: float) -> bool:
    """Make a firing this process's; return whether it is."""
    values = owned() | {"status": STARTING, "tries": row.tries + 1, "next_at": now}
    unchanged = update(firings).filter_by(schedule=row.schedule, key=row.key, status=row.status, tries=row.tries)
    return workspace.database.transact(lambda connection: connection.execute(unchanged.values(values)).rowcount) == 1


def _start(workspace: Workspace, firing: Firing, now: float, wishes: Wishes | None) -> Firing:
    """Make the job of a firing that is ours, or write down why there is none."""
    firing = replace(firing, tries=firing.tries + 1)
    try:
        _make_job(workspace, firing, wishes)
    except (Unavailable, OSError) as problem:
        if firing.tries < TRIES:
            pause = min(LONGEST_PAUSE, 2.0**firing.tries)
            return _end(workspace, firing, status=WAITING, error=str(problem), next_at=now + pause)
        return _end(workspace, firing, status=FAILED, error=f"{problem} ({TRIES} tries)")
    except StudioloError as problem:
        told = f"{problem}; {problem.hint}" if problem.hint else str(problem)
        return _end(workspace, firing, status=FAILED, error=told)
    except Exception as problem:
        _end(workspace, firing, status=FAILED, error=f"it broke: {type(problem).__name__}: {problem}")
        raise
    return _end(workspace, firing, status=STARTED)


def _make_job(workspace: Workspace, firing: Firing, wishes: Wishes | None) -> None:
    schedule = store.get(workspace, firing.schedule)
    is_http = firing.cause == "http"
    job = definition.job_for(workspace, schedule.spec, firing.parameters, due=firing.due, networked=is_http)
    mine = {SCHEDULE: firing.schedule, FIRING: firing.key}
    if firing.cause == "http":
        mine |= foreign.said(firing.parameters.get("inputs") or {})
    named = replace(
        job, name=firing.job, display_name=job.display_name or firing.job, properties={**job.properties, **mine}
    )
    try:
        create(workspace, named, wishes)
    except Conflict:
        found = workspace.light.rows("SELECT name FROM jobs WHERE name = :name", name=firing.job)
        made = records.get(workspace, firing.job).properties if found else {}
        if any(made.get(key) != value for key, value in mine.items()):
            raise


def _end(
    workspace: Workspace, firing: Firing, *, status: str, error: str | None = None, next_at: float | None = None
) -> Firing:
    values = {"status": status, "error": error} | ({} if next_at is None else {"next_at": next_at})
    mine = update(firings).filter_by(schedule=firing.schedule, key=firing.key, status=STARTING, tries=firing.tries)
    workspace.database.transact(lambda connection: connection.execute(mine.values(values)))
    return replace(firing, status=status, error=error)


def _reread(workspace: Workspace, firing: Firing) -> Row[Any]:
    with workspace.database.read() as connection:
        return connection.execute(select(firings).filter_by(schedule=firing.schedule, key=firing.key)).one()


def _firing(row: Row[Any]) -> Firing:
    return Firing(
        schedule=row.schedule, key=row.key, due=row.due, cause=row.cause, parameters=row.parameters,
        missed=row.missed, status=row.status, job=row.job, error=row.error, tries=row.tries, created_at=row.created_at,
    )  # fmt: skip

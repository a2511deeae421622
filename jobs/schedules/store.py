"""The schedules of a workspace: made, changed, looked at, switched on and off, and removed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from jobs.files.command import NAME
from jobs.files.overrides import Override
from jobs.files.schedule import Schedule
from jobs.files.trigger import Trigger
from jobs.folders import place_of
from jobs.schedules import definition
from jobs.schedules.times import dues, next_due
from workspace.errors import Invalid, NotFound, did_you_mean
from workspace.home import Workspace
from workspace.tables import firings, schedules

SCOPE = "trigger:"  # before the name of a schedule: what a key is made for that fires this one and does nothing else
_LONGEST = 200  # letters: the jobs are called after it


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleRecord:
    """One schedule. `spec` is what runs and when; `next_due` the moment that the clock fires it at next."""

    name: str
    spec: Mapping[str, Any]
    enabled: bool
    next_due: float | None
    created_at: float
    updated_at: float

    @property
    def trigger(self) -> Trigger | None:
        """When it runs; None: when somebody asks for it."""
        return definition.trigger_of(self.spec)

    def dues(self, after: float) -> Iterator[float]:
        """Yield when it is due after a moment, were it enabled."""
        trigger = self.trigger
        return iter(()) if trigger is None else dues(trigger, created=self.created_at, after=after)

    def upcoming(self, now: float, count: int = 5) -> list[float]:
        """Return when the clock fires it next; nothing where it is disabled."""
        if not self.enabled or self.next_due is None:
            return []
        rest = self.dues(max(now, self.next_due))
        return [self.next_due, *itertools.islice(rest, count - 1)][:count]


def put(workspace: Workspace, schedule: Schedule, *, now: float) -> ScheduleRecord:
    """Make a schedule, enabled, or put it in the place of the one of that name; its counting starts anew at `now`
    where it runs at other times."""
    if not NAME.fullmatch(schedule.name) or len(schedule.name) > _LONGEST:
        hint = f"letters, digits, '.', '_' and '-', {_LONGEST} at most"
        raise Invalid(f"{schedule.name!r} cannot be the name of a schedule", hint=hint)
    spec = definition.keep(workspace, schedule)

    def write(connection: Connection) -> None:
        before = connection.execute(select(schedules).filter_by(name=schedule.name)).first()
        if before is not None:
            _rewrite(workspace, connection, _record(before), spec, now)
            return
        trigger = definition.trigger_of(spec)
        due = None if trigger is None else next_due(trigger, created=now, after=now - 1e-3)
        row = {"name": schedule.name, "spec": spec, "place": place_of(workspace.home), "enabled": True,
               "next_due": due, "created_at": now, "updated_at": now}  # fmt: skip
        connection.execute(insert(schedules).values(row))
        workspace.audit.record(connection, "schedule.create", f"schedule:{schedule.name}", after=_told(spec))

    workspace.database.transact(lambda connection: _alone(workspace, connection, write))
    return get(workspace, schedule.name)


def change(
    workspace: Workspace, name: str, overrides: tuple[Override, ...], *, now: float, removed: tuple[str, ...] = ()
) -> ScheduleRecord:
    """Set values of a schedule: `trigger.expression`, `create_job.inputs.rate`, `tags.team`."""

    def write(connection: Connection) -> None:
        before = _found(connection, name)
        _rewrite(workspace, connection, before, definition.changed(workspace, before.spec, overrides, removed), now)

    workspace.database.transact(lambda connection: _alone(workspace, connection, write))
    return get(workspace, name)


def switch(workspace: Workspace, name: str, *, enabled: bool, now: float) -> ScheduleRecord:
    """Have the clock fire a schedule, or not; what would have been due meanwhile is not made up for."""

    def write(connection: Connection) -> None:
        before = _found(connection, name)
        if before.enabled is enabled:
            return
        values = {"enabled": enabled, "next_due": next(before.dues(now), None) if enabled else None, "updated_at": now}
        connection.execute(update(schedules).filter_by(name=name).values(values))
        workspace.audit.record(connection, f"schedule.{'enable' if enabled else 'disable'}", f"schedule:{name}")

    workspace.database.transact(lambda connection: _alone(workspace, connection, write))
    return get(workspace, name)


def remove(workspace: Workspace, name: str) -> None:
    """Remove a schedule and what is known of its firings; its jobs stay."""

    def write(connection: Connection) -> None:
        _found(connection, name)
        connection.execute(delete(schedules).filter_by(name=name))
        connection.execute(delete(firings).filter_by(schedule=name))
        workspace.audit.record(connection, "schedule.remove", f"schedule:{name}")

    workspace.database.transact(lambda connection: _alone(workspace, connection, write))


def get(workspace: Workspace, name: str) -> ScheduleRecord:
    """Return one schedule."""
    with workspace.database.read() as connection:
        return _found(connection, name)


def listed(workspace: Workspace) -> list[ScheduleRecord]:
    """Return the schedules, by name."""
    with workspace.database.read() as connection:
        return [_record(row) for row in connection.execute(select(schedules).order_by(schedules.c.name))]


def due(workspace: Workspace, now: float) -> list[ScheduleRecord]:
    """Return the schedules of this place that the clock should have fired."""
    query = select(schedules).where(schedules.c.enabled, schedules.c.next_due <= now)
    query = query.where(schedules.c.place == place_of(workspace.home)).order_by(schedules.c.next_due)
    with workspace.database.read() as connection:
        return [_record(row) for row in connection.execute(query)]


def _rewrite(
    workspace: Workspace, connection: Connection, before: ScheduleRecord, spec: Mapping[str, Any], now: float
) -> None:
    values: dict[str, Any] = {"spec": spec, "updated_at": now}
    if spec.get("trigger") != before.spec.get("trigger"):
        trigger = definition.trigger_of(spec)
        due = None if trigger is None else next_due(trigger, created=now, after=now - 1e-3)
        values |= {"created_at": now, "next_due": due if before.enabled else None}
    connection.execute(update(schedules).filter_by(name=before.name).values(values))
    subject = f"schedule:{before.name}"
    workspace.audit.record(connection, "schedule.update", subject, before=_told(before.spec), after=_told(spec))


def _alone(workspace: Workspace, connection: Connection, write: Any) -> None:
    workspace.database.hold(connection, "schedules")
    write(connection)


def _told(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the audit log keeps of a schedule: not the job, which may hold what is secret."""
    return {key: spec[key] for key in ("trigger", "tags", "properties") if key in spec}


def _found(connection: Connection, name: str) -> ScheduleRecord:
    row = connection.execute(select(schedules).filter_by(name=name)).first()
    if row is None:
        known = connection.scalars(select(schedules.c.name)).all()
        raise NotFound(f"no schedule {name!r}", hint=did_you_mean(name, known) or "there is no schedule yet")
    return _record(row)


def _record(row: Row[Any]) -> ScheduleRecord:
    return ScheduleRecord(
        name=row.name,
        spec=row.spec,
        enabled=row.enabled,
        next_due=row.next_due,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )

"""Schedules and their firings as the command line shows them, in Azure ML's words and with what is due next."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from typing import Any

from jobs.files.time_zones import zone
from jobs.schedules.firing import Firing
from jobs.schedules.store import ScheduleRecord

_KINDS = {"create_job": "job", "import_data": "import", "create_monitor": "monitor"}
_HIDDEN = ("folder",)


def schedule(record: ScheduleRecord, now: float, *, count: int = 5) -> dict[str, Any]:
    """Return a schedule; `next_runs` are in its own zone."""
    upcoming = record.upcoming(now, count)
    where = _zone(record)
    told = {key: value for key, value in record.spec.items() if key not in _HIDDEN}
    return {
        "name": record.name,
        "display_name": record.spec.get("display_name"),
        **told,
        "type": next((kind for key, kind in _KINDS.items() if key in record.spec), ""),
        "is_enabled": record.enabled,
        "when": when(record),
        "next_run": _shown(upcoming[0], where) if upcoming else None,
        "next_runs": [_shown(each, where) for each in upcoming],
    }


def when(record: ScheduleRecord) -> str:
    """Return when a schedule runs, in a word or two.

    >>> when(nightly)
    '0 2 * * * Europe/Berlin'
    """
    trigger = record.spec.get("trigger")
    if trigger is None:
        return "when asked for"
    if trigger["type"] == "cron":
        return f"{trigger['expression']} {trigger.get('time_zone', 'UTC')}"
    interval, unit = trigger["interval"], trigger["frequency"]
    return f"every {unit}" if interval == 1 else f"every {interval} {unit}s"


def firing(done: Firing) -> dict[str, Any]:
    """Return one time that a schedule was fired."""
    return {
        "schedule": done.schedule, "job": done.job, "job_name": done.job, "due": _shown(done.due, UTC),
        "cause": done.cause, "status": done.status, "missed": done.missed, "error": done.error,
        "parameters": done.parameters,
    }  # fmt: skip


def words(record: ScheduleRecord, fired: list[Firing], now: float) -> str:
    """Return a schedule for people: when it runs, when next, and what came of it lately."""
    told = schedule(record, now)
    state = "enabled" if record.enabled else "disabled"
    lines = [f"{record.name}: {told['type']}, {told['when']}, {state}"]
    if record.spec.get("description"):
        lines.append(str(record.spec["description"]))
    lines += [f"next  {each}" for each in told["next_runs"]] or ["next  only when asked for"]
    for each in fired:
        left_out = f", {each.missed} before it left out" if each.missed else ""
        error = f": {each.error}" if each.error else ""
        lines.append(f"fired {_shown(each.due, _zone(record))}  {each.job}  {each.status}{left_out}{error}")
    return "\n".join(lines)


def _zone(record: ScheduleRecord) -> tzinfo:
    trigger = record.trigger
    return UTC if trigger is None else zone(trigger.time_zone) or UTC


def _shown(moment: float, where: tzinfo) -> str:
    return datetime.fromtimestamp(moment, where).isoformat(timespec="seconds")

"""Schedules: the jobs that they run, and cron expressions."""

from __future__ import annotations

from collections.abc import Iterator

from jobs.files.reading import Finding
from jobs.files.schedule import Schedule


def of_schedule(schedule: Schedule) -> Iterator[Finding]:
    """Yield what cannot be right in a schedule."""
    from jobs.checks import problems

    if schedule.create_job is not None:
        yield from problems(schedule.create_job)

"""Cron expressions: minute, hour, day, month and day of the week, as sets of numbers."""

from __future__ import annotations

import re
from dataclasses import dataclass

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_PART = re.compile(r"(?:(\*)|([A-Za-z]{3}|\d+)(?:-([A-Za-z]{3}|\d+))?)(?:/(\d+))?")
_LIMITS = (("minute", 0, 59), ("hour", 0, 23), ("day", 1, 31), ("month", 1, 12), ("day of the week", 0, 7))


@dataclass(frozen=True, slots=True, kw_only=True)
class CronTimes:
    """When something runs. A day counts where its month and one of both days fit, if both are restricted."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    week_days: frozenset[int]  # 0 is Sunday
    any_day: bool
    any_week_day: bool


def parse(expression: str) -> CronTimes:
    """Read an expression of five fields, or raise ValueError with a sentence that says what is wrong.

    >>> sorted(parse("*/20 2 * * mon-fri").minutes)
    [0, 20, 40]
    """
    fields = expression.split()
    if len(fields) != len(_LIMITS):
        raise ValueError(f"a cron expression has five fields, not {len(fields)}")
    minutes, hours, days, months, week_days = (
        _field(text, *limits) for text, limits in zip(fields, _LIMITS, strict=True)
    )
    return CronTimes(
        minutes=minutes,
        hours=hours,
        days=days,
        months=months,
        week_days=frozenset(day % 7 for day in week_days),
        any_day=fields[2] == "*",
        any_week_day=fields[4] == "*",
    )


def _field(text: str, what: str, least: int, most: int) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split(","):
        match = _PART.fullmatch(part)
        if match is None:
            raise ValueError(f"{part!r} is no {what}")
        every, first, last, step = match.groups()
        start = least if every else _number(first, what)
        end = most if every or (step and last is None) else _number(last or first, what)
        if not least <= start <= end <= most:
            raise ValueError(f"{part!r} is no {what}: it goes from {least} to {most}")
        if step == "0":
            raise ValueError(f"{part!r} goes no step")
        found.update(range(start, end + 1, int(step or 1)))
    return frozenset(found)


def _number(text: str, what: str) -> int:
    if text.isdecimal():
        return int(text)
    names = MONTHS if what == "month" else DAYS if what == "day of the week" else ()
    if text.lower() not in names:
        raise ValueError(f"{text!r} is no {what}")
    return names.index(text.lower()) + (what == "month")

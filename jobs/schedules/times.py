"""When a schedule is due: from a trigger to moments, through the clock changes of its time zone.

A time that the clock skips is due at the moment when it jumps; one that it shows twice is due the first time. What
runs in every hour, or every so many minutes or hours, goes by elapsed time: it runs in each of the two hours.
"""

from __future__ import annotations

import calendar
import itertools
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from jobs.files import cron
from jobs.files.time_zones import zone
from jobs.files.trigger import WEEK_DAYS, Cron, Pattern, Recurrence, Trigger
from workspace.errors import Invalid

_HORIZON = 40 * 366  # days: what is not due within them never is
_EVERY_HOUR = frozenset(range(24))
_NUMBER = re.compile(r"\d+")
_SECONDS = {"minute": 60, "hour": 3600}

Block = tuple[float, list[float]]  # a moment before which nothing of it is due, and when it is due


@dataclass(frozen=True, slots=True, kw_only=True)
class _Calendar:
    """The days and times of day at which something is due, in a zone."""

    where: tzinfo
    fits: Callable[[date], bool]
    hours: frozenset[int]
    minutes: frozenset[int]
    also: Callable[[datetime], bool] = lambda _: True  # what a time must fit besides

    def blocks(self, day: date) -> Iterator[Block]:
        """Yield when it is due, one day after the other from `day` on."""
        for offset in range(_HORIZON):
            try:
                each = day + timedelta(days=offset)
            except OverflowError:
                return
            if self.fits(each):
                yield moment(datetime.combine(each, time()), self.where), list(self._of(each))

    def _of(self, day: date) -> Iterator[float]:
        twice = self.hours == _EVERY_HOUR
        for hour in sorted(self.hours):
            for minute in sorted(self.minutes):
                wall = datetime.combine(day, time(hour, minute))
                if not self.also(wall):
                    continue
                if not twice:
                    yield moment(wall, self.where)
                elif _exists(wall, self.where):
                    yield from {wall.replace(tzinfo=self.where, fold=fold).timestamp() for fold in (0, 1)}


def dues(trigger: Trigger, *, created: float, after: float) -> Iterator[float]:
    """Yield when a schedule that was made at `created` is due after that moment, in order and for ever.

    A recurrence that says no start is due at once, when it is made; nothing is due before.
    """
    where = zone(trigger.time_zone)
    if where is None:
        raise Invalid(f"there is no time zone {trigger.time_zone!r}")
    start = created if trigger.start_time is None else read_moment(trigger.start_time, where)
    end = float("inf") if trigger.end_time is None else read_moment(trigger.end_time, where)
    after = max(after, start - 1e-6, created - 1e-6)
    found = _of_cron(trigger, where, after) if isinstance(trigger, Cron) else _of(trigger, where, start, after)
    last = after
    for each in found:
        if each > end:
            return
        if each > last:
            yield each
            last = each


def next_due(trigger: Trigger, *, created: float, after: float) -> float | None:
    """Return when a schedule is due next, or None where it never is again."""
    return next(dues(trigger, created=created, after=after), None)


def read_moment(written: str, where: tzinfo) -> float:
    """Return a time of ISO 8601 as files have it; one without a zone is of the trigger's.

    >>> read_moment("2026-5-1T8:30", UTC)
    1777624200.0
    """
    body, offset = written, ""
    if found := re.search(r"(Z|[+-]\d{2}(:?\d{2})?)$", written[10:] if len(written) > 10 else ""):
        offset = found[0]
        body = written[: -len(offset)]
    whole, _, fraction = body.partition(".")
    try:
        wall = datetime(*map(int, _NUMBER.findall(whole)), microsecond=int(fraction.ljust(6, "0")[:6] or 0))  # type: ignore[misc,arg-type]
    except ValueError as problem:
        raise Invalid(f"{written!r} is no time: {problem}", hint="as 2026-05-01T08:30:00") from None
    if not offset:
        return moment(wall, where)
    return datetime.fromisoformat(wall.isoformat() + ("+00:00" if offset == "Z" else offset)).timestamp()


def moment(wall: datetime, where: tzinfo) -> float:
    """Return when a clock of a zone shows a time: the first of two; where it skips it, the moment of the jump."""
    first = wall.replace(tzinfo=where, fold=0)
    if _exists(wall, where):
        return first.timestamp()
    after = _offset(wall.replace(tzinfo=where, fold=1))
    early, late = int(wall.replace(tzinfo=UTC).timestamp() - after.total_seconds()), int(first.timestamp())
    while early < late:  # the first second at which the new offset holds
        middle = (early + late) // 2
        if _offset(datetime.fromtimestamp(middle, where)) == after:
            late = middle
        else:
            early = middle + 1
    return float(late)


def _exists(wall: datetime, where: tzinfo) -> bool:
    first, second = (_offset(wall.replace(tzinfo=where, fold=fold)) for fold in (0, 1))
    return first >= second


def _offset(shown: datetime) -> timedelta:
    return shown.utcoffset() or timedelta()


def _of_cron(trigger: Cron, where: tzinfo, after: float) -> Iterator[float]:
    times = cron.parse(trigger.expression)

    def fits(day: date) -> bool:
        if day.month not in times.months:
            return False
        in_month, in_week = day.day in times.days, day.isoweekday() % 7 in times.week_days
        return (in_month and in_week) if times.any_day or times.any_week_day else (in_month or in_week)

    found = _Calendar(where=where, fits=fits, hours=times.hours, minutes=times.minutes)
    return _in_order(found.blocks(_day_before(after, where)))


def _of(trigger: Recurrence, where: tzinfo, start: float, after: float) -> Iterator[float]:
    if trigger.schedule is not None:
        patterned = _of_pattern(trigger, trigger.schedule, where, start, after)
        return itertools.chain([start] if trigger.start_time is None else [], patterned)
    if (unit := _SECONDS.get(trigger.frequency)) is not None:
        step = unit * trigger.interval
        passed = max(0, int((after - start) // step))
        return (start + step * number for number in itertools.count(passed))
    return _by_days(trigger, where, start, after)


def _by_days(trigger: Recurrence, where: tzinfo, start: float, after: float) -> Iterator[float]:
    """Yield every so many days, weeks or months after the start, at the same time of day."""
    first = datetime.fromtimestamp(start, where).replace(tzinfo=None)
    begun = datetime.fromtimestamp(max(after, start), where).replace(tzinfo=None) - timedelta(days=2)
    yield start
    if trigger.frequency == "month":
        passed = (begun.year - first.year) * 12 + begun.month - first.month
        for number in itertools.count(max(1, passed // trigger.interval)):
            yield moment(_months_later(first, number * trigger.interval), where)
    step = timedelta(days=trigger.interval * (7 if trigger.frequency == "week" else 1))
    for number in itertools.count(max(1, (begun - first) // step)):
        yield moment(first + number * step, where)


def _of_pattern(trigger: Recurrence, pattern: Pattern, where: tzinfo, start: float, after: float) -> Iterator[float]:
    """Yield the times of the pattern, in every so many of what the recurrence counts in; the start is in the first."""
    first = datetime.fromtimestamp(start, where).replace(tzinfo=None)
    week_days = {WEEK_DAYS.index(day) for day in pattern.week_days}
    if trigger.frequency == "week" and not week_days:
        week_days = {first.weekday()}
    by_day_of_start = trigger.frequency == "month" and not week_days and not pattern.month_days

    def fits(day: date) -> bool:
        length = calendar.monthrange(day.year, day.month)[1]
        days = (
            {min(first.day, length)}
            if by_day_of_start
            else {length if each == -1 else each for each in pattern.month_days}
        )
        return (
            _counts(trigger, first, datetime.combine(day, time()))
            and (not week_days or day.weekday() in week_days)
            and (not days or day.day in days)
        )

    def also(wall: datetime) -> bool:
        if trigger.frequency not in _SECONDS:
            return True
        begun = first.replace(second=0, microsecond=0, minute=first.minute if trigger.frequency == "minute" else 0)
        elapsed = (wall - begun).total_seconds() // _SECONDS[trigger.frequency]
        return int(elapsed) % trigger.interval == 0

    hours, minutes = frozenset(pattern.hours), frozenset(pattern.minutes)
    found = _Calendar(where=where, fits=fits, hours=hours, minutes=minutes, also=also)
    return _in_order(found.blocks(_day_before(after, where)))


def _counts(trigger: Recurrence, first: datetime, day: datetime) -> bool:
    """Whether a day lies in a day, week or month that is not passed over."""
    if trigger.frequency == "month":
        return ((day.year - first.year) * 12 + day.month - first.month) % trigger.interval == 0
    days = (day.date() - first.date()).days
    if trigger.frequency == "week":
        return (days + first.weekday()) // 7 % trigger.interval == 0
    return trigger.frequency in _SECONDS or days % trigger.interval == 0


def _in_order(blocks: Iterable[Block]) -> Iterator[float]:
    """Yield the moments of all blocks in order: where a clock goes back at midnight, days lie one in the other."""
    waiting: list[float] = []
    for begins, found in blocks:
        ready = sorted(each for each in waiting if each < begins)
        yield from ready
        waiting = [each for each in waiting if each >= begins] + found
    yield from sorted(waiting)


def _months_later(wall: datetime, months: int) -> datetime:
    year, month = divmod(wall.year * 12 + wall.month - 1 + months, 12)
    return wall.replace(year=year, month=month + 1, day=min(wall.day, calendar.monthrange(year, month + 1)[1]))


def _day_before(after: float, where: tzinfo) -> date:
    """Return a day from which on nothing that is due after a moment is missed, were a whole day skipped."""
    return datetime.fromtimestamp(after, where).date() - timedelta(days=2)

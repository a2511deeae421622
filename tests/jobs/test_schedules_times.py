"""When schedules are due: against somebody who looks at the clock every minute, in any zone, at any clock change."""

from __future__ import annotations

import functools
import itertools
import zoneinfo
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.files import cron
from jobs.files.trigger import WEEK_DAYS, Cron, Pattern, Recurrence, Trigger
from jobs.schedules.times import dues, next_due, read_moment

MINUTE, DAY = 60, 86_400
ZONES = sorted(zoneinfo.available_timezones() - {"localtime", "Factory"})
CHANGED = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/St_Johns", "America/Asuncion"]


def at(text: str, zone: str = "UTC") -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


def shown(moments: list[float], zone: str = "UTC") -> list[str]:
    return [datetime.fromtimestamp(each, ZoneInfo(zone)).isoformat() for each in moments]


def first(trigger: Trigger, count: int, *, after: float, created: float | None = None) -> list[float]:
    made = after if created is None else created
    return list(itertools.islice(dues(trigger, created=made, after=after), count))


@functools.cache
def jumps(zone: str, year: int) -> list[int]:
    """The moments of a year at which the clock of a zone is changed."""
    where, start = ZoneInfo(zone), int(datetime(year, 1, 1, tzinfo=UTC).timestamp())
    days = [(t, datetime.fromtimestamp(t, where).utcoffset()) for t in range(start, start + 366 * DAY, DAY)]
    found = []
    for (before, old), (_, new) in itertools.pairwise(days):
        if old != new:
            minutes = range(before, before + DAY + MINUTE, MINUTE)
            found += [next(each for each in minutes if datetime.fromtimestamp(each, where).utcoffset() != old)]
    return found


@st.composite
def places(draw: st.DrawFn) -> tuple[str, int]:
    """A zone and a minute, often just before a clock change."""
    zone = draw(st.sampled_from(CHANGED) | st.sampled_from(ZONES))
    year = draw(st.integers(1995, 2036))
    minute = int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) + draw(st.integers(0, 365 * 24 * 60)) * MINUTE
    changes = jumps(zone, year)
    if changes and draw(st.integers(0, 3)) > 0:
        minute = draw(st.sampled_from(changes)) - draw(st.integers(0, 30 * 60)) * MINUTE
    return zone, minute


def walk(zone: str, start: int, minutes: int, fits: Callable[[datetime], bool], *, twice: bool) -> list[float]:
    """Look at the clock every minute; where it has jumped, look at what it has skipped as well."""
    where, found = ZoneInfo(zone), []
    before = datetime.fromtimestamp(start, where)
    for moment in range(start + MINUTE, start + minutes * MINUTE, MINUTE):
        now = datetime.fromtimestamp(moment, where)
        wall, last = now.replace(tzinfo=None, fold=0), before.replace(tzinfo=None, fold=0)
        skipped = [last + timedelta(minutes=n) for n in range(1, int((wall - last).total_seconds()) // MINUTE)]
        if (fits(wall) and (twice or not now.fold)) or (not twice and any(map(fits, skipped))):
            found.append(float(moment))
        before = now
    return found


def _field(least: int, most: int, *, sparse: bool = False) -> st.SearchStrategy[str]:
    numbers = st.integers(least, most)
    some = st.lists(numbers, min_size=1, max_size=3).map(lambda each: ",".join(map(str, each)))
    ranges = st.tuples(numbers, numbers).map(lambda pair: f"{min(pair)}-{max(pair)}")
    steps = st.integers(1, most).map(lambda step: f"*/{step}")
    return st.one_of(some, ranges, *(() if sparse else (st.just("*"), st.just("*"), steps)))


# Clocks are changed at night: half of them are about that.
NIGHTS = st.tuples(_field(0, 59), _field(0, 3, sparse=True)).map(lambda two: f"{two[0]} {two[1]} * * *")
EXPRESSIONS = NIGHTS | st.tuples(
    _field(0, 59), _field(0, 23), st.one_of(st.just("*"), _field(1, 31)), st.one_of(st.just("*"), _field(1, 12)),
    st.one_of(st.just("*"), _field(0, 6)),
).map(" ".join)  # fmt: skip


@settings(max_examples=50, deadline=None)
@given(place=places(), expression=EXPRESSIONS)
def test_cron_is_due_when_somebody_who_watches_the_clock_says_so(place: tuple[str, int], expression: str) -> None:
    zone, start = place
    times = cron.parse(expression)

    def fits(wall: datetime) -> bool:
        day, week_day = wall.day in times.days, wall.isoweekday() % 7 in times.week_days
        days = day and week_day if times.any_day or times.any_week_day else day or week_day
        return days and wall.month in times.months and wall.hour in times.hours and wall.minute in times.minutes

    span = 3 * 24 * 60
    trigger = Cron(type="cron", expression=expression, time_zone=zone)
    found = list(
        itertools.takewhile(lambda each: each < start + span * MINUTE, dues(trigger, created=start, after=start))
    )
    assert found == walk(zone, start, span, fits, twice=len(times.hours) == 24)


@st.composite
def patterns(draw: st.DrawFn) -> Pattern:
    numbers = functools.partial(st.lists, min_size=1, max_size=4, unique=True)
    return Pattern(
        hours=tuple(draw(st.one_of(numbers(st.integers(0, 3)), numbers(st.integers(0, 23)), st.just(list(range(24)))))),
        minutes=tuple(draw(numbers(st.integers(0, 59)))),
        week_days=tuple(draw(st.just([]) | st.lists(st.sampled_from(WEEK_DAYS), max_size=4, unique=True))),
        month_days=tuple(draw(st.just([]) | st.lists(st.integers(-1, 31).filter(bool), max_size=4, unique=True))),
    )


@settings(max_examples=50, deadline=None)
@given(
    place=places(), pattern=patterns(), interval=st.integers(1, 4), age=st.integers(0, 60),
    frequency=st.sampled_from(("minute", "hour", "day", "week", "month")),
)  # fmt: skip
def test_a_recurrence_with_a_pattern_is_due_when_somebody_who_watches_the_clock_says_so(
    place: tuple[str, int], pattern: Pattern, interval: int, age: int, frequency: str
) -> None:
    zone, start = place
    begun = start - age * DAY
    wall_then = datetime.fromtimestamp(begun, ZoneInfo(zone)).replace(tzinfo=None, fold=0)
    week_days = {WEEK_DAYS.index(day) for day in pattern.week_days}
    if frequency == "week" and not week_days:
        week_days = {wall_then.weekday()}

    def passed(wall: datetime) -> int:
        """How many of what it counts in have begun since the first one did."""
        if frequency == "month":
            return (wall.year - wall_then.year) * 12 + wall.month - wall_then.month
        monday = wall_then.date() - timedelta(days=wall_then.weekday())
        if frequency in ("day", "week"):
            return (wall.date() - (monday if frequency == "week" else wall_then.date())).days // (
                7 if frequency == "week" else 1
            )
        cut = {"second": 0} | ({"minute": 0} if frequency == "hour" else {})
        return int((wall - wall_then.replace(**cut)) / timedelta(**{f"{frequency}s": 1}) // 1)  # type: ignore[arg-type]

    def fits(wall: datetime) -> bool:
        last = ((wall.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)).day
        days = {last if day == -1 else day for day in pattern.month_days}
        if frequency == "month" and not days and not week_days:
            days = {min(wall_then.day, last)}
        return (
            wall.hour in pattern.hours and wall.minute in pattern.minutes and passed(wall) % interval == 0
            and (not week_days or wall.weekday() in week_days) and (not days or wall.day in days)
        )  # fmt: skip

    span = 3 * 24 * 60
    trigger = Recurrence(
        type="recurrence", frequency=frequency, interval=interval, schedule=pattern,  # type: ignore[arg-type]
        time_zone=zone, start_time=f"{datetime.fromtimestamp(begun, UTC):%Y-%m-%dT%H:%M:%S}Z",
    )  # fmt: skip
    end = start + span * MINUTE
    found = list(itertools.takewhile(lambda each: each < end, dues(trigger, created=begun, after=start)))
    assert found == walk(zone, start, span, fits, twice=len(pattern.hours) == 24)


@settings(max_examples=30, deadline=None)
@given(place=places(), interval=st.integers(1, 40), frequency=st.sampled_from(("day", "week", "month")))
def test_a_recurrence_without_a_pattern_comes_at_the_same_time_of_day(
    place: tuple[str, int], interval: int, frequency: str
) -> None:
    zone, start = place
    where = ZoneInfo(zone)
    begun = datetime.fromtimestamp(start, where)
    trigger = Recurrence(type="recurrence", frequency=frequency, interval=interval, time_zone=zone)  # type: ignore[arg-type]
    found = first(trigger, 12, created=start, after=start - 1)
    assert found[0] == start
    for number, each in enumerate(found):
        shows = datetime.fromtimestamp(each, where)
        if frequency == "month":
            assert (shows.year - begun.year) * 12 + shows.month - begun.month == number * interval
        else:
            assert abs((shows.date() - begun.date()).days - number * interval * (7 if frequency == "week" else 1)) <= 1
        back = datetime.fromtimestamp(each - 1, where).replace(tzinfo=None, fold=0)
        jumped = shows.replace(tzinfo=None, fold=0) - back != timedelta(seconds=1)
        assert (shows.hour, shows.minute) == (begun.hour, begun.minute) or jumped


@given(st.integers(1, 500), st.sampled_from(("minute", "hour")), st.integers(0, 10**6))
def test_minutes_and_hours_go_by_elapsed_time(interval: int, frequency: str, late: int) -> None:
    step = interval * (60 if frequency == "minute" else 3600)
    start = at("2026-03-08T09:00:07")
    trigger = Recurrence(type="recurrence", frequency=frequency, interval=interval, time_zone="America/New_York")  # type: ignore[arg-type]
    found = first(trigger, 3, created=start, after=start + late)
    assert [each - start for each in found] == [step * (late // step + number) for number in (1, 2, 3)]


def test_what_the_clock_skips_is_due_when_it_jumps_and_once() -> None:
    trigger = Cron(type="cron", expression="0,30 2,3 * * *", time_zone="Pacific Standard Time")
    found = first(trigger, 6, after=at("2026-03-07T12:00", "America/Los_Angeles"))
    assert shown(found, "America/Los_Angeles") == [
        "2026-03-08T03:00:00-07:00", "2026-03-08T03:30:00-07:00", "2026-03-09T02:00:00-07:00",
        "2026-03-09T02:30:00-07:00", "2026-03-09T03:00:00-07:00", "2026-03-09T03:30:00-07:00",
    ]  # fmt: skip


def test_what_the_clock_shows_twice_is_due_once_unless_it_runs_every_hour() -> None:
    night = at("2026-10-25T00:00", "Europe/Berlin")
    once = Cron(type="cron", expression="30 2 * * *", time_zone="W. Europe Standard Time")
    assert shown(first(once, 2, after=night), "Europe/Berlin") == [
        "2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00",
    ]  # fmt: skip
    hourly = Cron(type="cron", expression="30 * * * *", time_zone="W. Europe Standard Time")
    assert shown(first(hourly, 4, after=night), "Europe/Berlin") == [
        "2026-10-25T00:30:00+02:00", "2026-10-25T01:30:00+02:00", "2026-10-25T02:30:00+02:00",
        "2026-10-25T02:30:00+01:00",
    ]  # fmt: skip


def test_a_day_that_never_was_is_made_up_for_when_the_next_one_begins() -> None:
    trigger = Cron(type="cron", expression="0 10 30 12 *", time_zone="Pacific/Apia")
    found = first(trigger, 1, after=at("2011-12-01T00:00", "Pacific/Apia"))
    assert shown(found, "Pacific/Apia") == ["2011-12-31T00:00:00+14:00"]


def test_a_start_and_an_end_bound_it() -> None:
    trigger = Cron(
        type="cron", expression="0 12 * * *", time_zone="Asia/Kolkata",
        start_time="2026-05-01T12:00:00", end_time="2026-05-03T12:00",
    )  # fmt: skip
    found = first(trigger, 10, after=at("2026-04-01T00:00"))
    assert shown(found, "Asia/Kolkata") == [f"2026-05-0{day}T12:00:00+05:30" for day in (1, 2, 3)]


def test_without_a_start_a_recurrence_runs_at_once_and_cron_when_it_is_time() -> None:
    now = at("2026-05-01T08:10:30")
    pattern = Pattern(hours=(9,), minutes=(0,))
    for schedule, second in ((None, "2026-05-02T08:10:30+00:00"), (pattern, "2026-05-01T09:00:00+00:00")):
        trigger = Recurrence(type="recurrence", frequency="day", interval=1, schedule=schedule)
        found = first(trigger, 2, created=now, after=now - 1)
        assert shown(found) == ["2026-05-01T08:10:30+00:00", second]
    assert next_due(Cron(type="cron", expression="0 9 * * *"), created=now, after=now) == at("2026-05-01T09:00")


def test_a_start_in_the_past_is_counted_from_and_not_made_up_for() -> None:
    trigger = Recurrence(type="recurrence", frequency="month", interval=1, start_time="2026-01-31T06:00:00")
    now = at("2026-02-10T00:00")
    assert shown(first(trigger, 3, created=now, after=now)) == [
        "2026-02-28T06:00:00+00:00", "2026-03-31T06:00:00+00:00", "2026-04-30T06:00:00+00:00",
    ]  # fmt: skip


@pytest.mark.parametrize("expression", ["0 0 30 2 *", "0 0 31 4,6 *"])
def test_what_never_comes_is_never_due(expression: str) -> None:
    assert next_due(Cron(type="cron", expression=expression), created=0, after=at("2026-01-01T00:00")) is None


def test_the_29th_of_february_is_waited_for() -> None:
    found = first(Cron(type="cron", expression="0 0 29 2 *"), 2, after=at("2095-01-01T00:00"))
    assert shown(found) == ["2096-02-29T00:00:00+00:00", "2104-02-29T00:00:00+00:00"]


@pytest.mark.parametrize(
    ("written", "moment"),
    [
        ("2026-05-01T08:30:00", "2026-05-01T06:30:00"), ("2026-5-1 8:30", "2026-05-01T06:30:00"),
        ("2026-05-01T08:30:00Z", "2026-05-01T08:30:00"), ("2026-05-01T08:30:00-0300", "2026-05-01T11:30:00"),
        ("2026-05-01T08:30+05", "2026-05-01T03:30:00"), ("2026-05-01T08:30:00.2500000", "2026-05-01T06:30:00.25"),
    ],
)  # fmt: skip
def test_times_as_files_have_them(written: str, moment: str) -> None:
    assert read_moment(written, ZoneInfo("Europe/Berlin")) == at(moment)

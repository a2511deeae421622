"""Cron expressions and time zones, as schedules name them."""

from __future__ import annotations

import pytest

from jobs.files import cron
from jobs.files.time_zones import WINDOWS, zone


@pytest.mark.parametrize(
    ("expression", "minutes", "hours", "week_days"),
    [
        ("0 2 * * *", {0}, {2}, set(range(7))),
        ("*/20 0-3 * * mon-fri", {0, 20, 40}, {0, 1, 2, 3}, {1, 2, 3, 4, 5}),
        ("5,10-12 22/1 * * 0,7", {5, 10, 11, 12}, {22, 23}, {0}),
        ("1-9/4 12 * * SAT", {1, 5, 9}, {12}, {6}),
    ],
)
def test_a_cron_expression_is_sets_of_numbers(
    expression: str, minutes: frozenset[int], hours: frozenset[int], week_days: frozenset[int]
) -> None:
    times = cron.parse(expression)
    assert (times.minutes, times.hours, times.week_days) == (minutes, hours, week_days)
    assert times.any_day


def test_months_have_names_and_days_are_restricted() -> None:
    times = cron.parse("0 0 1,15 jan-mar *")
    assert (set(times.days), set(times.months)) == ({1, 15}, {1, 2, 3})
    assert not times.any_day
    assert times.any_week_day


@pytest.mark.parametrize(
    "expression", ["", "* * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8", "a * * * *",
                   "5-1 * * * *", "*/0 * * * *", "* * * foo *", "1,,2 * * * *"],
)  # fmt: skip
def test_what_is_no_cron_expression(expression: str) -> None:
    with pytest.raises(ValueError, match=r"field|no |step"):
        cron.parse(expression)


def test_every_name_of_windows_is_a_zone() -> None:
    assert [name for name in WINDOWS if zone(name) is None] == []


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("Pacific Standard Time", "America/Los_Angeles"), ("w. europe standard time", "Europe/Berlin"),
        ("Europe/Berlin", "Europe/Berlin"), ("UTC", "Etc/UTC"), ("India Standard Time", "Asia/Kolkata"),
    ],
)  # fmt: skip
def test_a_zone_by_its_name(name: str, key: str) -> None:
    found = zone(name)
    assert found is not None
    assert found.key == key


@pytest.mark.parametrize("name", ["Moon", "", "../etc/passwd", "Europe/Nowhere"])
def test_what_is_no_zone(name: str) -> None:
    assert zone(name) is None

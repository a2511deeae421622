"""Windows of monitors: how long they are, and before which moment."""

from __future__ import annotations

from typing import Any

import pytest

from jobs.files.monitor import Window
from jobs.monitors.windows import DAY, Span, default_size, production_span, reference_span, seconds
from workspace.errors import Invalid

NOON = 1_777_636_800.0  # 2026-05-01T12:00:00Z


@pytest.mark.parametrize(
    ("written", "expected"),
    [("P7D", 7.0), ("P1DT12H", 1.5), ("PT6H", 0.25), ("P2W", 14.0), ("P1M", 30.0), ("p1d", 1.0)],
)
def test_durations_are_those_of_iso_8601(written: str, expected: float) -> None:
    assert seconds(written) == expected * DAY


@pytest.mark.parametrize("written", ["", "P", "7D", "P7", "PT"])
def test_what_is_no_duration_is_refused(written: str) -> None:
    with pytest.raises(Invalid, match="no duration"):
        seconds(written)


@pytest.mark.parametrize(
    ("trigger", "days"),
    [
        ({"type": "recurrence", "frequency": "hour", "interval": 6}, 1),
        ({"type": "recurrence", "frequency": "day", "interval": 3}, 3),
        ({"type": "recurrence", "frequency": "week", "interval": 2}, 14),
        ({"type": "recurrence", "frequency": "month", "interval": 1}, 30),
        ({"type": "cron", "expression": "0 0 * * *"}, 7),
        (None, 7),
    ],
)
def test_a_window_is_as_long_as_the_monitor_waits(trigger: dict[str, Any] | None, days: int) -> None:
    assert default_size(trigger) == days * DAY


def test_production_data_is_of_the_last_time_and_what_was_collected_is_compared_with_the_time_before() -> None:
    now = production_span(None, DAY, NOON)
    assert now == Span(NOON - DAY, NOON)
    assert reference_span(None, DAY, NOON, collected=True) == Span(NOON - 2 * DAY, NOON - DAY)
    assert reference_span(None, DAY, NOON, collected=False) is None  # data that is named is compared with whole
    ago = Window(lookback_window_size="P2D", lookback_window_offset="P1D")
    assert production_span(ago, DAY, NOON) == Span(NOON - 3 * DAY, NOON - DAY)
    assert reference_span(Window(lookback_window_size="P2D"), DAY, NOON, collected=True) == Span(
        NOON - 3 * DAY, NOON - DAY
    )
    default = Window(lookback_window_size="default", lookback_window_offset="default")
    assert production_span(default, DAY, NOON) == now
    assert reference_span(default, DAY, NOON, collected=False) == Span(NOON - 3 * DAY, NOON - DAY)


def test_a_window_between_two_times() -> None:
    between = Window(window_start="2026-04-01T00:00:00", window_end="2026-04-02T00:00:00+02:00")
    found = reference_span(between, DAY, NOON, collected=False)
    assert found is not None
    assert found.plain() == {"from": "2026-04-01T00:00:00Z", "to": "2026-04-01T22:00:00Z"}
    with pytest.raises(Invalid, match="before it begins"):
        production_span(Window(window_start="2026-04-02", window_end="2026-04-01"), DAY, NOON)
    with pytest.raises(Invalid, match="no time"):
        production_span(Window(window_start="yesterday"), DAY, NOON)


def test_a_window_without_an_end_is_told_and_an_offset_alone_moves_the_reference() -> None:
    found = production_span(Window(window_start="2026-04-01T00:00:00"), DAY, NOON)
    assert found.plain() == {"from": "2026-04-01T00:00:00Z", "to": "9999-12-31T00:00:00Z"}
    ago = Window(lookback_window_offset="P30D")
    assert reference_span(ago, DAY, NOON, collected=False) == Span(NOON - 31 * DAY, NOON - 30 * DAY)

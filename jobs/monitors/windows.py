"""Which time data is of: a window before a moment, or between two."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from jobs.files.monitor import Window
from workspace.errors import Invalid

LATEST = datetime(9999, 12, 31, tzinfo=UTC).timestamp()  # of what has no end
DEFAULT = "default"  # the word that files of Azure ML write for it
DAY = 86_400.0
_DURATION = re.compile(
    r"P(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?"
)
_SECONDS = (365 * DAY, 30 * DAY, 7 * DAY, DAY, 3_600.0, 60.0, 1.0)
_UNITS = {"day": 1, "week": 7, "month": 30}


@dataclass(frozen=True, slots=True)
class Span:
    """A time from a moment until before another, in UTC seconds."""

    start: float
    end: float

    def plain(self) -> dict[str, str]:
        """Return it as reports show it."""
        return {"from": moment(self.start), "to": moment(self.end)}


def seconds(written: str) -> float:
    """Return how long an ISO 8601 duration is; a month counts 30 days, a year 365.

    >>> seconds("P1DT12H")
    129600.0
    """
    found = _DURATION.fullmatch(written.strip().upper())
    if found is None or not any(found.groups()):
        raise Invalid(f"{written!r} is no duration", hint="write it as P7D, P1M or PT6H")
    return sum(float(part) * unit for part, unit in zip(found.groups(), _SECONDS, strict=True) if part)


def default_size(trigger: Mapping[str, Any] | None) -> float:
    """Return how long windows are by default: as long as the monitor waits, a day at least; by cron a week."""
    if trigger is None or trigger["type"] == "cron":
        return 7 * DAY
    return _UNITS.get(trigger["frequency"], 0) * DAY * trigger["interval"] or DAY


def production_span(window: Window | None, size: float, at: float) -> Span:
    """Return the time of production data: the last `size` seconds where a file says nothing else."""
    window = window or Window()
    if window.window_start or window.window_end:
        return _between(window)
    long = size if window.lookback_window_size in (None, DEFAULT) else seconds(str(window.lookback_window_size))
    ago = 0.0 if window.lookback_window_offset in (None, DEFAULT) else seconds(str(window.lookback_window_offset))
    return Span(at - ago - long, at - ago)


def reference_span(window: Window | None, size: float, at: float, *, collected: bool) -> Span | None:
    """Return the time of data that is compared with; None: all of it.

    What the deployment itself has collected is of the window before the production data's.
    """
    if window is None:
        return Span(at - 2 * size, at - size) if collected else None
    if window.window_start or window.window_end:
        return _between(window)
    said, offset = window.lookback_window_size, window.lookback_window_offset
    if said is None and offset in (None, DEFAULT):
        return Span(at - 2 * size, at - size) if collected else None
    long = size if said is None else 2 * size if said == DEFAULT else seconds(said)
    ago = size if offset == DEFAULT or (offset is None and collected) else seconds(offset) if offset else 0.0
    return Span(at - ago - long, at - ago)


def moment(at: float) -> str:
    """Return a moment as ISO 8601 in UTC."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _between(window: Window) -> Span:
    start = 0.0 if window.window_start is None else _at(window.window_start)
    end = LATEST if window.window_end is None else _at(window.window_end)
    if start >= end:
        raise Invalid(f"the window ends at {window.window_end}, before it begins", hint="window_start, then window_end")
    return Span(start, end)


def _at(written: str) -> float:
    try:
        found = datetime.fromisoformat(str(written))
    except ValueError:
        raise Invalid(f"{written!r} is no time", hint="write it as 2026-05-01T00:00:00Z") from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()

"""What a regressor learns a forecast from: for each origin and each step ahead, what was known at the origin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from finetune.automl.series import Frame, Line

Numbers = Any
MOST_ROWS = 30_000
LEVEL, SEASONAL, LAST = "level", "seasonal", "last"
BASES = (LEVEL, SEASONAL, LAST)  # from which the target is measured: trees cannot say what they have not seen
_MOST_LAGS = 28
_BACK = 3  # seasons that a target is compared with


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """Rows of origins and steps ahead: `ends` is the place of the target, `origins` of what was known last."""

    matrix: Numbers
    target: Numbers
    bases: dict[str, Numbers]
    lines: Numbers
    origins: Numbers
    ends: Numbers


def needed(frame: Frame) -> int:
    """Return how many values an origin looks back on."""
    return max([*_lags(frame), *(each * _BACK for each in frame.seasons[:1]), *_windows(frame), frame.steps]) + 1


def pairs_of(lines: list[Line], frame: Frame) -> Pairs:
    """Return the pairs of origins that training learns from: so many apart that there are not too many rows."""
    total = sum(len(line) for line in lines) * frame.steps
    apart = max(1, -(-total // MOST_ROWS))
    found = []
    for number, line in enumerate(lines):
        last = len(line) - 2
        origins = np.arange(last, _first(line, frame) - 1, -apart)[::-1]
        if len(origins):
            found.append(rows_at(line, frame, origins, number=number))
    return _joined(found)


def rows_at(line: Line, frame: Frame, origins: Numbers, *, number: int, ahead: Line | None = None) -> Pairs:
    """Return the pairs of some origins. `ahead` is the line with what is known after its end."""
    steps = np.arange(1, frame.steps + 1)
    starts = np.repeat(origins, frame.steps)
    step = np.tile(steps, len(origins))
    ends = starts + step
    whole = ahead or line
    there = ends < len(whole)
    starts, step, ends = starts[there], step[there], ends[there]
    values = line.values
    recent = np.column_stack([_at(values, starts - lag) for lag in _lags(frame)])
    seasonal = [_at(values, _before(ends, starts, season, back)) for season in frame.seasons for back in range(_BACK)]
    windows = [stat[starts] for width in _windows(frame) for stat in _rolling(values, width)]
    level = windows[0]
    features = [
        recent - level[:, None], *(each - level for each in seasonal), *(each - level for each in windows[::2]),
        *windows[1::2], level, step, *_calendar(whole.moments, ends), whole.known[ends], np.full(len(step), number),
    ]  # fmt: skip
    target = np.where(ends < len(values), _at(values, np.minimum(ends, len(values) - 1)), np.nan)
    return Pairs(
        matrix=np.column_stack(features), target=target,
        bases={LEVEL: level, SEASONAL: seasonal[0], LAST: _at(values, starts)},
        lines=np.full(len(step), number), origins=starts, ends=ends,
    )  # fmt: skip


def _first(line: Line, frame: Frame) -> int:
    """Return the first origin that has enough behind it, where the line is long enough for that."""
    return int(min(needed(frame), max(1, len(line) // 3)))


def _lags(frame: Frame) -> list[int]:
    if frame.horizon.lags:
        return [lag - 1 for lag in frame.horizon.lags]
    return list(range(min(_MOST_LAGS, max(4, frame.season))))


def _windows(frame: Frame) -> list[int]:
    if frame.horizon.window:
        return [frame.horizon.window]
    return [max(2, frame.season), max(4, 3 * frame.season), max(8, 7 * frame.season)]


def _before(ends: Numbers, starts: Numbers, season: int, back: int) -> Numbers:
    """Return the places of the same moment in a season that is known at the origin, and some seasons before that."""
    behind = -(-(ends - starts) // season) + back
    return ends - behind * season


def _at(values: Numbers, places: Numbers) -> Numbers:
    """Return values at places; before the first one, the first."""
    return values[np.maximum(places, 0)]


def _rolling(values: Numbers, width: int) -> tuple[Numbers, Numbers]:
    """Return mean and deviation of the last `width` values at each place."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    squares = np.concatenate([[0.0], np.cumsum(values**2)])
    ends = np.arange(1, len(values) + 1)
    begins = np.maximum(ends - width, 0)
    count = ends - begins
    mean = (sums[ends] - sums[begins]) / count
    variance = (squares[ends] - squares[begins]) / count - mean**2
    return mean, np.sqrt(np.maximum(variance, 0.0))


def _calendar(moments: Any, places: Numbers) -> list[Numbers]:
    at = moments[places]
    year = 2 * np.pi * np.asarray(at.day_of_year) / 365.25
    hour = 2 * np.pi * (np.asarray(at.hour) + np.asarray(at.minute) / 60) / 24
    found = (at.hour, at.day_of_week, at.month, at.day)
    return [*(np.asarray(each, dtype=float) for each in found), np.sin(year), np.cos(year), np.sin(hour), np.cos(hour)]


def _joined(found: list[Pairs]) -> Pairs:
    return Pairs(
        matrix=np.vstack([each.matrix for each in found]), target=np.concatenate([each.target for each in found]),
        bases={name: np.concatenate([each.bases[name] for each in found]) for name in BASES},
        lines=np.concatenate([each.lines for each in found]), origins=np.concatenate([each.origins for each in found]),
        ends=np.concatenate([each.ends for each in found]),
    )  # fmt: skip

"""The planner: how many rows or repeats it takes to see a change, and which change these rows would show."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from evals.pairing import Item, clusters_of, items, pair, scored, value
from evals.samples import Sample
from evals.statistics.clusters import clustered
from evals.statistics.intervals import standard_error
from evals.statistics.noise import Noise, noise
from evals.statistics.power import (
    ALPHA,
    POWER,
    rows_for_mean,
    rows_for_rate,
    visible_mean_change,
    visible_rate_change,
)
from workspace.errors import Invalid

DISAGREEMENT = 0.10  # where nobody says: what two versions of one prompt often have
MOST_REPEATS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """What is known beforehand: `disagreement` of passes and failures, or the `deviation` of changes of grades.

    `cluster_size` and `alike` (the intraclass correlation) say how little a further row of a cluster tells; `noise`
    is what repeats of one row differ by.
    """

    rows: int | None = None
    disagreement: float | None = None
    deviation: float | None = None
    cluster_size: float = 1.0
    alike: float = 0.0
    noise: Noise | None = None

    def __post_init__(self) -> None:
        if self.disagreement is not None and not 0 <= self.disagreement <= 1:
            raise Invalid(f"a disagreement is a share of rows, not {self.disagreement}")
        if self.deviation is not None and not self.deviation >= 0:
            raise Invalid(f"a deviation is at least 0, not {self.deviation}")
        if self.cluster_size < 1 or not 0 <= self.alike <= 1:
            raise Invalid(f"clusters have at least one row, and a correlation of 0 to 1, not {self.alike}")
        if self.rows is not None and self.rows < 1:
            raise Invalid(f"rows must be at least 1, not {self.rows}")

    @property
    def design(self) -> float:
        """The design effect: how many times as many rows clusters take."""
        return 1 + (self.cluster_size - 1) * self.alike


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How many rows show the change, what the rows at hand show, and how many repeats of them would do.

    `repeats` is None where no number of them would, or where nothing is known of their noise. `floor` is the change
    that two runs of the same thing make by themselves.
    """

    change: float
    rows_needed: int
    rows: int | None
    visible: float | None
    enough: bool | None
    repeats: int | None
    floor: float | None
    spread: Spread


def plan(spread: Spread, change: float) -> Plan:
    """Plan for a change to be seen 8 times in 10 at 5 %, two-sided, over paired rows."""
    if not 0 < change <= 1:
        raise Invalid(f"a change must be above 0 and at most 1, not {change}", hint="3 points are 0.03")
    needed = math.ceil(_rows(spread, change) * spread.design)
    enough = None if spread.rows is None else spread.rows >= needed
    return Plan(
        change=change,
        rows_needed=needed,
        rows=spread.rows,
        visible=None if spread.rows is None else _visible(spread, spread.rows),
        enough=enough,
        repeats=None if enough in (None, True) else _repeats(spread, change),
        floor=spread.noise.floor if spread.noise else None,
        spread=spread,
    )


def measured(
    one: Sequence[Sample], other: Sequence[Sample] | None, *, metric: str | None = None, rows: int | None = None
) -> Spread:
    """Return the spread that earlier runs had: of one with repeats, or of two over the same rows."""
    names = list(dict.fromkeys(name for sample in one for name in sample.scores))
    metric = metric or (names[0] if names else None)
    if metric is None or metric not in names:
        raise Invalid(f"the run has no metric {metric!r}", hint=f"it has {', '.join(names) or 'no scores'}")
    found = items(one)
    repeated = _repeated(found.values(), metric)
    heard = noise(repeated) if len(repeated) > 1 else None
    paired = pair(one, other if other is not None else one)
    kept = [
        (old, new, was, now)
        for old, new in paired.matched
        if (was := value(old, metric)) is not None and (now := value(new, metric)) is not None
    ]
    if len(kept) < 2:
        raise Invalid("too few rows to plan from", hint="two rows need a score at least")
    rows = rows or len(kept)
    if other is None:
        return _of_one(kept, heard, rows)
    changes = np.array([now - was for *_, was, now in kept])
    clusters = clusters_of([(old, new) for old, new, *_ in kept])
    size, alike = (1.0, 0.0) if clusters is None else _alike(changes, clusters)
    binary = {was for *_, was, _ in kept} | {now for *_, now in kept} <= {0.0, 1.0}
    share, deviation = float((changes != 0).mean()), float(np.std(changes, ddof=1))
    return Spread(
        rows=rows,
        disagreement=share if binary else None,
        deviation=None if binary else deviation,
        cluster_size=size,
        alike=alike,
        noise=heard,
    )


def words(found: Plan) -> Iterator[str]:
    """Say a plan, a sentence a line."""
    spread = found.spread
    how = (
        f"a deviation of {spread.deviation:.3f}"
        if spread.deviation is not None
        else (f"{_disagreement(spread):.0%} of rows that disagree".replace("%", " %"))
    )
    promise = f"{100 * POWER:.0f} % power at {100 * ALPHA:.0f} %"
    yield f"A change of {found.change:g} needs {found.rows_needed:,} rows ({how}, {promise})."
    if spread.design > 1:
        yield f"Clusters take {spread.design:.2f} times as many rows; that is in the number."
    if found.rows is not None:
        shown = "no change at all" if found.visible is None else f"a change of {found.visible:.3f}"
        yield f"{found.rows:,} rows show {shown}: {'enough' if found.enough else 'underpowered'}."
    if found.repeats is not None:
        yield f"Or ask each row {found.repeats} times."
    elif found.enough is False and spread.noise is not None:
        yield "No number of repeats would do: the rows differ too much from each other."
    if found.floor is not None:
        yield f"Noise floor: two runs of the same thing differ by up to {found.floor:.3f}."


def as_dict(found: Plan) -> dict[str, Any]:
    """Return a plan as JSON takes it."""
    return asdict(found)


def _of_one(kept: Sequence[tuple[Item, Item, float, float]], heard: Noise | None, rows: int) -> Spread:
    """Plan from one run: a second one differs by the noise at least, or by what is usual where nothing is known."""
    values = {was for *_, was, _ in kept}
    if heard is not None and heard.flip_rate > 0:
        return Spread(rows=rows, deviation=math.sqrt(2 * heard.within / heard.repeats), noise=heard)
    if values <= {0.0, 1.0}:
        return Spread(rows=rows, disagreement=DISAGREEMENT, noise=heard)
    deviation = float(np.std([was for *_, was, _ in kept], ddof=1))
    # Two runs whose rows correlate by a half: the change of a row spreads as much as its level.
    return Spread(rows=rows, deviation=deviation, noise=heard)


def _repeated(rows: Sequence[Item] | Any, metric: str) -> list[list[float]]:
    found = ([score for sample in row if (score := scored(sample, metric)) is not None] for row in rows)
    return [row for row in found if len(row) > 1]


def _alike(changes: Any, clusters: Sequence[str]) -> tuple[float, float]:
    """Return the mean size of a cluster, and the correlation that its CR1 error tells of."""
    of = clustered(changes, clusters)
    size = len(changes) / of.count
    plain = standard_error(changes)
    if size <= 1 or plain == 0 or not math.isfinite(of.error):
        return max(1.0, size), 1.0 if size > 1 else 0.0
    return size, min(1.0, max(0.0, ((of.error / plain) ** 2 - 1) / (size - 1)))


def _disagreement(spread: Spread) -> float:
    return DISAGREEMENT if spread.disagreement is None else spread.disagreement


def _rows(spread: Spread, change: float) -> int:
    if spread.deviation is not None:
        return rows_for_mean(change, spread.deviation)
    return rows_for_rate(change, _disagreement(spread))


def _visible(spread: Spread, rows: int) -> float | None:
    worth = int(rows / spread.design)
    if spread.deviation is not None:
        return visible_mean_change(worth, spread.deviation)
    return visible_rate_change(worth, _disagreement(spread))


def _repeats(spread: Spread, change: float) -> int | None:
    """Return how often each row is to be asked: repeats take noise away, and nothing of what rows truly differ by."""
    if spread.noise is None or spread.deviation is None or spread.rows is None:
        return None
    noisy = 2 * spread.noise.within / spread.noise.repeats  # of the deviation that was measured
    rest = max(0.0, spread.deviation**2 - noisy)
    for repeats in range(2, MOST_REPEATS + 1):
        deviation = math.sqrt(rest + 2 * spread.noise.within / repeats)
        if rows_for_mean(change, deviation) * spread.design <= spread.rows:
            return repeats
    return None

"""Measure a change: the scores of the same rows in two runs, by the method that fits them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from evals.statistics import clusters as by_cluster
from evals.statistics.bootstrap import Floats
from evals.statistics.clusters import clustered
from evals.statistics.intervals import Interval, bca, mean_t, newcombe_paired, standard_error, wilson
from evals.statistics.paired import Test, mcnemar, paired_t, sign_flip
from evals.statistics.power import rows_for_mean, rows_for_rate, visible_mean_change, visible_rate_change
from evals.statistics.sequential import Looks, looks_needed, visible_change
from workspace.errors import Invalid

MARGIN = 0.03
SAME = 1e-12  # changes that are no further apart differ by rounding only
MOST_TO_DRAW = 10_000  # rows, for the level of each run; the change is always drawn


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How two runs differ over the same rows. A binary metric has passes and failures only.

    `visible` is the smallest change that these rows could have shown, `rows_needed` how many rows would show one
    as small as the margin; `clusters` counts the clusters where rows have some.
    """

    binary: bool
    before: Interval
    after: Interval
    change: Interval
    test: Test
    second_test: Test | None
    visible: float | None
    rows_needed: int
    clusters: int | None = None


def measure(
    before: Sequence[float],
    after: Sequence[float],
    *,
    margin: float = MARGIN,
    clusters: Sequence[str] | None = None,
    peeking: bool = False,
) -> Difference:
    """Measure the change between scores of the same rows.

    Passes and failures by McNemar and Newcombe, grades by sign flips and BCa; rows in clusters by the CR1 error and t,
    or the wild cluster bootstrap where they are few. `peeking` makes interval and p-value right at every look.
    """
    old, new = np.asarray(before, dtype=np.float64), np.asarray(after, dtype=np.float64)
    binary = bool(np.isin(old, (0.0, 1.0)).all() and np.isin(new, (0.0, 1.0)).all())
    if clusters is not None:
        measured = _clustered(old, new, list(clusters), margin, binary)
    else:
        measured = _rates(old, new, margin) if binary else _means(old, new, margin)
    return _peeked(measured, old, new, clusters, margin) if peeking else measured


def _rates(before: Floats, after: Floats, margin: float) -> Difference:
    n = len(before)
    both, lost, won, neither = _cells(before, after)
    disagreement = (lost + won) / n
    return Difference(
        binary=True,
        before=wilson(both + lost, n),
        after=wilson(both + won, n),
        change=newcombe_paired(both, lost, won, neither),
        test=mcnemar(lost, won),
        second_test=None,
        visible=visible_rate_change(n, disagreement),
        rows_needed=rows_for_rate(margin, disagreement),
    )


def _means(before: Floats, after: Floats, margin: float) -> Difference:
    changes = after - before
    deviation = float(np.std(changes, ddof=1))
    return Difference(
        binary=False,
        before=_level(before),
        after=_level(after),
        change=bca(changes) if np.ptp(changes) > SAME else _of_alike(float(changes.mean()), len(changes)),
        test=sign_flip(changes),
        second_test=paired_t(changes),
        # Changes that are all alike have no spread to plan with: ask instead for rows that change by a whole score.
        visible=visible_mean_change(len(changes), deviation) if deviation else visible_rate_change(len(changes), 0.0),
        rows_needed=rows_for_mean(margin, deviation),
    )


def _of_alike(change: float, rows: float) -> Interval:
    """Return the interval of a change that all rows share: others may change otherwise, by as much as a whole score.

    How many may is what Wilson's interval says of a rate of which no row was seen.
    """
    reach = wilson(0, rows).high
    return Interval(change, change - reach, change + reach, "Wilson, changes all alike")


def _level(values: Floats) -> Interval:
    """Return the interval of a mean: of many rows it is normal, and drawing again would tell nothing new."""
    return bca(values) if len(values) <= MOST_TO_DRAW else mean_t(values)


def _clustered(before: Floats, after: Floats, clusters: list[str], margin: float, binary: bool) -> Difference:
    old, new, of = clustered(before, clusters), clustered(after, clusters), clustered(after - before, clusters)
    n, changes = len(before), after - before
    level = by_cluster.rate if binary else by_cluster.interval
    change = by_cluster.interval(of)
    if of.count > 1 and of.error == 0:
        change = _of_alike(of.mean, of.count)
        if binary:
            change = by_cluster.change_of_rate(*_cells(before, after), clusters=of.count)
    # How many rows of a plain sample tell as much as these, and how many of these it takes to tell as much.
    worth = _worth(of, changes)
    if binary:
        disagreement = float((before != after).mean())
        visible = visible_rate_change(int(worth), disagreement)
        needed = rows_for_rate(margin, disagreement)
    else:
        deviation = float(np.std(changes, ddof=1))
        visible = visible_mean_change(int(worth), deviation) if deviation else visible_rate_change(int(worth), 0.0)
        needed = rows_for_mean(margin, deviation)
    return Difference(
        binary=binary,
        before=level(old),
        after=level(new),
        change=change,
        test=by_cluster.fitting_test(of),
        second_test=by_cluster.t_test(of) if of.few else None,
        visible=visible,
        rows_needed=math.ceil(needed * n / max(worth, 1.0)),
        clusters=of.count,
    )


def _worth(of: by_cluster.Clustered, changes: Floats) -> float:
    n = len(changes)
    if of.count < 2 or of.error == 0:
        return float(of.count)
    return min(float(n), max(1.0, n * (standard_error(changes) / of.error) ** 2))


def _peeked(
    measured: Difference, before: Floats, after: Floats, clusters: Sequence[str] | None, margin: float
) -> Difference:
    """Replace interval and test of the change by those that hold at every look, rows taken in the order given."""
    if min(before.min(), after.min()) < 0 or max(before.max(), after.max()) > 1:
        raise Invalid("only scores from 0 to 1 can be looked at early", hint="leave out --peek")
    changes = after - before
    if clusters is not None:
        sums = clustered(changes, list(clusters))
        changes = sums.sums / sums.sizes  # a cluster is one observation
    looks = Looks(-1.0, 1.0)
    looks.add(changes.tolist())
    variance = float(np.var(changes))
    moved = float((changes != 0).mean())

    def spread(gap: float) -> float:
        # A change makes rows differ that did not; passes and failures differ by a whole score.
        return max(moved, gap) - gap**2 if (measured.binary and clusters is None) or not variance else variance

    return replace(
        measured,
        change=looks.interval,
        test=looks.test(),
        second_test=None,
        visible=visible_change(len(changes), spread),
        rows_needed=math.ceil(looks_needed(margin, spread) * len(before) / len(changes)),
    )


def _cells(before: Floats, after: Floats) -> tuple[int, int, int, int]:
    """Return how many rows passed in both runs, only before, only after, and in none."""
    places, counts = np.unique(2 * before + after, return_counts=True)
    cells = dict(zip(places.astype(int).tolist(), counts.tolist(), strict=True))
    return cells.get(3, 0), cells.get(2, 0), cells.get(1, 0), cells.get(0, 0)

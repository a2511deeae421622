"""Intervals: what a measured rate, mean or difference of rates may truly be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evals.statistics import bootstrap
from evals.statistics.bootstrap import DRAWS, Floats
from evals.statistics.distributions import beta_quantile, normal_cdf, normal_quantile, t_quantile
from workspace.errors import Invalid

CONFIDENCE = 0.95
Values = Sequence[float] | Floats


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate, its lower and upper bound, and the method that made them."""

    estimate: float
    low: float
    high: float
    method: str


def wilson(passed: float, n: float, *, confidence: float = CONFIDENCE) -> Interval:
    """Return Wilson's score interval of a rate: right also near 0 and 1 and for few rows.

    Rows that are worth fewer than they are, as those of clusters, may be counted in parts.

    >>> wilson(8, 10)
    Interval(estimate=0.8, low=0.490..., high=0.943..., method='Wilson')
    """
    _counts(passed, n)
    z = normal_quantile(0.5 + confidence / 2)
    rate = passed / n
    middle = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    low = 0.0 if passed == 0 else middle - half
    high = 1.0 if passed == n else middle + half
    return Interval(rate, low, high, "Wilson")


def clopper_pearson(passed: int, n: int, *, confidence: float = CONFIDENCE) -> Interval:
    """Return the exact interval of a rate: never too narrow, often too wide."""
    _counts(passed, n)
    tail = (1 - confidence) / 2
    low = beta_quantile(tail, passed, n - passed + 1) if passed else 0.0
    high = beta_quantile(1 - tail, passed + 1, n - passed) if passed < n else 1.0
    return Interval(passed / n, low, high, "Clopper-Pearson")


def mean_t(values: Values, *, confidence: float = CONFIDENCE) -> Interval:
    """Return Student's interval of a mean; one value alone says nothing about its spread."""
    mean, n = _mean(values), len(values)
    if n < 2:
        return Interval(mean, -math.inf, math.inf, "t")
    half = t_quantile(0.5 + confidence / 2, n - 1) * standard_error(values)
    return Interval(mean, mean - half, mean + half, "t")


def bca(values: Values, *, confidence: float = CONFIDENCE, draws: int = DRAWS, seed: int = 0) -> Interval:
    """Return the bias-corrected accelerated bootstrap interval of a mean: right for skewed scores.

    The same seed gives the same bounds.
    """
    mean = _mean(values)
    array = np.asarray(values, dtype=np.float64)
    off = array - mean
    spread = float((off**2).sum())
    if spread == 0 or len(array) < 2:
        return mean_t(values, confidence=confidence)
    means = np.sort(bootstrap.means(array, draws=draws, seed=seed))
    near = 1e-12 * float(np.abs(array).max())  # sums of the same values differ in their last bits
    below = float((means < mean - near).sum() + (np.abs(means - mean) <= near).sum() / 2)
    if not 0 < below < draws:
        return mean_t(values, confidence=confidence)
    bias = normal_quantile(below / draws)
    acceleration = float((off**3).sum()) / (6 * spread**1.5)

    def bound(p: float) -> float:
        z = bias + normal_quantile(p)
        return bootstrap.percentile(means, normal_cdf(bias + z / (1 - acceleration * z)))

    return Interval(mean, bound((1 - confidence) / 2), bound((1 + confidence) / 2), f"BCa bootstrap, {draws:,} draws")


def newcombe_paired(
    both: float, lost: float, won: float, neither: float, *, confidence: float = CONFIDENCE
) -> Interval:
    """Return Newcombe's interval (method 10) of the change of a rate measured twice on the same rows.

    `both` rows passed in either run, `lost` passed only before, `won` only after, `neither` in none.
    """
    n = both + lost + won + neither
    _counts(both, n)
    before = wilson(both + lost, n, confidence=confidence)
    after = wilson(both + won, n, confidence=confidence)
    phi = _correlation(both, lost, won, neither)
    change = (won - lost) / n

    def reach(first: float, second: float) -> float:
        return math.sqrt(max(0.0, first**2 - 2 * phi * first * second + second**2))

    low = change - reach(after.estimate - after.low, before.high - before.estimate)
    high = change + reach(after.high - after.estimate, before.estimate - before.low)
    return Interval(change, max(-1.0, low), min(1.0, high), "Newcombe, paired")


def standard_error(values: Values) -> float:
    """Return the standard error of the mean of at least two values."""
    return float(np.std(np.asarray(values, dtype=np.float64), ddof=1)) / math.sqrt(len(values))


def _correlation(both: float, lost: float, won: float, neither: float) -> float:
    margins = (both + lost) * (won + neither) * (both + won) * (lost + neither)
    if not margins:
        return 0.0
    product = both * neither - lost * won
    if product > 0:
        product = max(0.0, product - (both + lost + won + neither) / 2)
    return product / math.sqrt(margins)


def _counts(passed: float, n: float) -> None:
    if n <= 0 or not 0 <= passed <= n:
        raise Invalid(f"a rate needs rows: {passed} of {n} cannot be one")


def _mean(values: Values) -> float:
    if not len(values):
        raise Invalid("a mean needs at least one value")
    return math.fsum(values) / len(values)

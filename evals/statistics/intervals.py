"""Intervals: what a measured rate, mean or difference of rates may truly be."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from evals.statistics.distributions import beta_quantile, normal_cdf, normal_quantile, t_quantile
from workspace.errors import Invalid

CONFIDENCE = 0.95
DRAWS = 4_000
# Above this many rows the mean is normal for every purpose, and drawing would cost seconds.
MOST_ROWS_TO_DRAW = 2_000


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate, its lower and upper bound, and the method that made them."""

    estimate: float
    low: float
    high: float
    method: str


def wilson(passed: int, n: int, *, confidence: float = CONFIDENCE) -> Interval:
    """Return Wilson's score interval of a rate: right also near 0 and 1 and for few rows.

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


def mean_t(values: Sequence[float], *, confidence: float = CONFIDENCE) -> Interval:
    """Return Student's interval of a mean; one value alone says nothing about its spread."""
    mean, n = _mean(values), len(values)
    if n < 2:
        return Interval(mean, -math.inf, math.inf, "t")
    half = t_quantile(0.5 + confidence / 2, n - 1) * standard_error(values)
    return Interval(mean, mean - half, mean + half, "t")


def bca(values: Sequence[float], *, confidence: float = CONFIDENCE, draws: int = DRAWS, seed: int = 0) -> Interval:
    """Return the bias-corrected accelerated bootstrap interval of a mean: right for skewed scores.

    The same seed gives the same bounds. Above 2,000 rows it is Student's interval, which is then as good.
    """
    mean, n = _mean(values), len(values)
    spread = math.fsum((value - mean) ** 2 for value in values)
    if spread == 0 or n > MOST_ROWS_TO_DRAW:
        return mean_t(values, confidence=confidence)
    chance = random.Random(seed)  # noqa: S311 - statistics, not secrets
    means = sorted(sum(chance.choices(values, k=n)) / n for _ in range(draws))
    below = sum(drawn < mean for drawn in means) + sum(drawn == mean for drawn in means) / 2
    if not 0 < below < draws:
        return mean_t(values, confidence=confidence)
    bias = normal_quantile(below / draws)
    acceleration = math.fsum((value - mean) ** 3 for value in values) / (6 * spread**1.5)

    def bound(p: float) -> float:
        z = bias + normal_quantile(p)
        return _percentile(means, normal_cdf(bias + z / (1 - acceleration * z)))

    return Interval(mean, bound((1 - confidence) / 2), bound((1 + confidence) / 2), f"BCa bootstrap, {draws:,} draws")


def newcombe_paired(both: int, lost: int, won: int, neither: int, *, confidence: float = CONFIDENCE) -> Interval:
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


def standard_error(values: Sequence[float]) -> float:
    """Return the standard error of the mean of at least two values."""
    mean, n = fmean(values), len(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1) / n)


def _correlation(both: int, lost: int, won: int, neither: int) -> float:
    margins = (both + lost) * (won + neither) * (both + won) * (lost + neither)
    if not margins:
        return 0.0
    product = float(both * neither - lost * won)
    if product > 0:
        product = max(0.0, product - (both + lost + won + neither) / 2)
    return product / math.sqrt(margins)


def _percentile(ordered: Sequence[float], p: float) -> float:
    place = p * (len(ordered) - 1)
    index = min(int(place), len(ordered) - 2)
    return ordered[index] + (place - index) * (ordered[index + 1] - ordered[index])


def _counts(passed: int, n: int) -> None:
    if n < 1 or not 0 <= passed <= n:
        raise Invalid(f"a rate needs rows: {passed} of {n} cannot be one")


def _mean(values: Sequence[float]) -> float:
    if not values:
        raise Invalid("a mean needs at least one value")
    return fmean(values)

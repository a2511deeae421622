"""Rows that belong together, as questions about one document: the clusters are what was sampled, not the rows."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from evals.statistics.bootstrap import DRAWS, Floats
from evals.statistics.distributions import t_quantile, t_two_sided
from evals.statistics.intervals import CONFIDENCE, Interval, Values, newcombe_paired, wilson
from evals.statistics.paired import Test, every_sign
from workspace.errors import Invalid

FEW = 30  # below this many clusters the t distribution promises too much
MOST_TO_ENUMERATE = 13  # clusters, 8,192 ways to sign them


@dataclass(frozen=True, slots=True, kw_only=True)
class Clustered:
    """Values summed by cluster: `sums` and `sizes` of each, and of all the mean and its CR1 standard error."""

    sums: Floats
    sizes: Floats
    mean: float
    error: float

    @property
    def count(self) -> int:
        """How many clusters there are."""
        return len(self.sums)

    @property
    def few(self) -> bool:
        """Whether the clusters are too few for a t distribution."""
        return self.count < FEW


def clustered(values: Values, clusters: Sequence[Hashable]) -> Clustered:
    """Sum values by cluster. The error is the CR1 sandwich: statsmodels' `cov_type="cluster"` of a mean."""
    if len(values) != len(clusters) or not len(values):
        raise Invalid(f"each value needs its cluster: {len(values)} values, {len(clusters)} clusters")
    numbers: dict[Hashable, int] = {}
    place = np.array([numbers.setdefault(cluster, len(numbers)) for cluster in clusters])
    sums: Floats = np.bincount(place, weights=np.asarray(values, dtype=np.float64)).astype(np.float64)
    sizes = np.bincount(place).astype(np.float64)
    mean = float(sums.sum() / sizes.sum())
    return Clustered(sums=sums, sizes=sizes, mean=mean, error=_cr1(sums, sizes))


def t_interval(of: Clustered, *, confidence: float = CONFIDENCE) -> Interval:
    """Return the interval of the mean by its CR1 error and Student's t with one degree less than clusters."""
    if of.count < 2:
        return Interval(of.mean, -math.inf, math.inf, "CR1 t, 1 cluster")
    half = t_quantile(0.5 + confidence / 2, of.count - 1) * of.error
    return Interval(of.mean, of.mean - half, of.mean + half, f"CR1 t, {of.count:,} clusters")


def t_test(of: Clustered) -> Test:
    """Test whether the mean is zero by its CR1 error and Student's t."""
    if of.count < 2 or of.error == 0:
        return Test(1.0 if of.mean == 0 or of.count < 2 else 0.0, f"CR1 t, {of.count:,} clusters")
    return Test(t_two_sided(of.mean / of.error, of.count - 1), f"CR1 t, {of.count:,} clusters")


def wild_test(of: Clustered, *, draws: int = DRAWS, seed: int = 0) -> Test:
    """Test whether the mean is zero by the wild cluster bootstrap: whole clusters change their sign.

    All ways to sign up to 13 clusters, else seeded draws; the null hypothesis is imposed (Cameron, Gelbach and
    Miller 2008). Right below 30 clusters, where `t_test` alarms too often.
    """
    return Test(_wild_p(of, 0.0, _signs(of, draws, seed)), f"wild cluster bootstrap, {of.count:,} clusters")


def wild_interval(of: Clustered, *, confidence: float = CONFIDENCE, draws: int = DRAWS, seed: int = 0) -> Interval:
    """Return the means that the wild cluster bootstrap does not reject."""
    method = f"wild cluster bootstrap, {of.count:,} clusters"
    signs, alpha = _signs(of, draws, seed), 1 - confidence
    # Signing n clusters in every way rejects nothing at a level below 2 in 2 ** n.
    if of.count < 2 or (of.count <= MOST_TO_ENUMERATE and 2 / len(signs) > alpha):
        return Interval(of.mean, -math.inf, math.inf, method)
    if of.error == 0:
        return Interval(of.mean, of.mean, of.mean, method)
    low, high = (_edge(of, signs, alpha, side) for side in (-1.0, 1.0))
    return Interval(of.mean, low, high, method)


def rate(of: Clustered, *, confidence: float = CONFIDENCE) -> Interval:
    """Return Wilson's interval of a rate, its rows counted for what they are worth beside others of their cluster."""
    n, passed = float(of.sizes.sum()), float(of.sums.sum())
    worth = n / design_effect(of)
    shown = wilson(passed / n * worth, worth, confidence=confidence)
    return Interval(of.mean, shown.low, shown.high, f"Wilson, {of.count:,} clusters")


def interval(of: Clustered, *, confidence: float = CONFIDENCE) -> Interval:
    """Return the interval of a mean that fits: by t, or by the wild bootstrap where clusters are few."""
    return wild_interval(of, confidence=confidence) if of.few else t_interval(of, confidence=confidence)


def fitting_test(of: Clustered) -> Test:
    """Test a mean against zero by the method that fits: t, or the wild bootstrap where clusters are few."""
    return wild_test(of) if of.few else t_test(of)


def design_effect(of: Clustered) -> float:
    """Return how many times as many rows it takes as without clusters, for a rate: at least 1.

    Where all rows agree nothing can be told of it, and a cluster counts for one row.
    """
    n = float(of.sizes.sum())
    plain = of.mean * (1 - of.mean) / n
    if plain <= 0 or of.count < 2 or of.error == 0:
        return n / of.count
    return min(n / of.count, max(1.0, of.error**2 / plain)) if of.count > 1 else n


def change_of_rate(both: int, lost: int, won: int, neither: int, *, clusters: int) -> Interval:
    """Return Newcombe's interval of a change of a rate in which each cluster counts for one row.

    For changes that are all alike: they have no spread of which an error could be made.
    """
    share = clusters / (both + lost + won + neither)
    shown = newcombe_paired(both * share, lost * share, won * share, neither * share)
    return Interval(shown.estimate, shown.low, shown.high, f"Newcombe, {clusters:,} clusters")


def _cr1(sums: Floats, sizes: Floats) -> float:
    count, n = len(sums), float(sizes.sum())
    if count < 2:
        return math.inf
    off = sums - sizes * (float(sums.sum()) / n)
    return math.sqrt(count / (count - 1) * float((off**2).sum())) / n


def _signs(of: Clustered, draws: int, seed: int) -> Floats:
    if of.count <= MOST_TO_ENUMERATE:
        return every_sign(of.count)
    chance = np.random.Generator(np.random.SFC64(seed))
    return np.where(chance.integers(0, 2, size=(draws, of.count)) > 0, 1.0, -1.0)


def _wild_p(of: Clustered, mean: float, signs: Floats) -> float:
    """Return the share of signings whose statistic is as far out as the observed one, if `mean` were true."""
    off = of.sums - of.sizes * mean
    observed = _statistics(np.ones((1, of.count)), off, of.sizes)[0]
    drawn = _statistics(signs, off, of.sizes)
    extreme = int((drawn >= observed * (1 - 1e-9)).sum())
    return extreme / len(drawn) if of.count <= MOST_TO_ENUMERATE else (extreme + 1) / (len(drawn) + 1)


def _statistics(signs: Floats, off: Floats, sizes: Floats) -> Floats:
    """Return the absolute t statistic of every signing, up to a factor that all share."""
    sums = signs * off
    means = sums.sum(axis=1) / sizes.sum()
    spread = np.sqrt(((sums - means[:, None] * sizes) ** 2).sum(axis=1))
    tiny = 1e-12 * float(np.abs(off).sum())
    ratio: Floats = np.abs(means) / np.maximum(spread, max(tiny, 1e-300))
    return ratio


def _edge(of: Clustered, signs: Floats, alpha: float, side: float) -> float:
    """Return the farthest mean on that side that is not rejected, by halving."""
    inside, outside = of.mean, of.mean + side * 4 * of.error
    for _ in range(60):
        if _wild_p(of, outside, signs) <= alpha:
            break
        inside, outside = outside, of.mean + 2 * (outside - of.mean)
    else:
        return side * math.inf
    for _ in range(40):
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if _wild_p(of, middle, signs) > alpha else (inside, middle)
    return outside

"""Power: the smallest change a comparison could have seen, and the rows that a smaller one needs."""

from __future__ import annotations

import math
from collections.abc import Callable

from evals.statistics.distributions import fair_coin_cdf, normal_quantile, t_quantile
from workspace.errors import Invalid

ALPHA = 0.05
POWER = 0.80


def rows_for_rate(gap: float, disagreement: float, *, alpha: float = ALPHA, power: float = POWER) -> int:
    """Return how many paired rows show a change `gap` of a rate when the runs disagree on that share of rows.

    >>> rows_for_rate(0.03, 0.10)
    870
    """
    if not 0 < gap <= 1 or not 0 <= disagreement <= 1:
        raise Invalid(f"a gap must be within 0 to 1 and disagreement too, not {gap} and {disagreement}")
    share = max(disagreement, gap)  # a gap alone makes as many rows disagree
    reach = normal_quantile(1 - alpha / 2) * math.sqrt(share) + normal_quantile(power) * math.sqrt(share - gap * gap)
    return max(math.ceil((reach / gap) ** 2), math.ceil(fewest_flips(alpha) / share))


def visible_rate_change(n: int, disagreement: float, *, alpha: float = ALPHA, power: float = POWER) -> float | None:
    """Return the smallest change of a rate that `n` paired rows show at that power, or None where none can be seen."""
    return _smallest(n, lambda gap: rows_for_rate(gap, disagreement, alpha=alpha, power=power))


def visible_mean_change(n: int, deviation: float, *, alpha: float = ALPHA, power: float = POWER) -> float | None:
    """Return the smallest mean change that `n` paired rows show, given the standard deviation of their changes."""
    if n < 2:
        return None
    reach = t_quantile(1 - alpha / 2, n - 1) + t_quantile(power, n - 1)
    return reach * deviation / math.sqrt(n)


def rows_for_mean(gap: float, deviation: float, *, alpha: float = ALPHA, power: float = POWER) -> int:
    """Return how many paired rows show a mean change `gap`, given the standard deviation of the changes."""
    if gap <= 0:
        raise Invalid(f"a gap must be above 0, not {gap}")
    n = 2
    reach = normal_quantile(1 - alpha / 2) + normal_quantile(power)
    n = max(n, math.ceil((reach * deviation / gap) ** 2))
    while (visible_mean_change(n, deviation, alpha=alpha, power=power) or 0) > gap:
        n += 1
    return n


def fewest_flips(alpha: float = ALPHA) -> int:
    """Return how many rows must flip, all one way, before the exact test can call it a change: 6 at 5 %."""
    flips = 1
    while 2 * fair_coin_cdf(0, flips) >= alpha:
        flips += 1
    return flips


def _smallest(n: int, rows: Callable[[float], int]) -> float | None:
    """Return the smallest gap that `n` rows are enough for, by halving; None where not even a gap of 1 is."""
    if n < 1 or rows(1.0) > n:
        return None
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if rows(middle) <= n else (middle, high)
    return high

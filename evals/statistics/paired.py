"""Tests of a change measured twice on the same rows: could chance alone have made it?"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from evals.statistics.distributions import fair_coin_cdf, fair_coin_pmf, t_two_sided
from evals.statistics.intervals import standard_error
from workspace.errors import Invalid

EXACT_BELOW = 25  # discordant rows
DRAWS = 10_000
FEWEST_DRAWS = 1_000
# One draw costs as many coin throws as there are sizes of change: bounds a test to about a second.
MOST_THROWS = 5_000_000
MOST_TO_ENUMERATE = 12  # changes, 4,096 ways to flip them


@dataclass(frozen=True, slots=True)
class Test:
    """A two-sided p-value and the method that made it."""

    __test__ = False  # not one of pytest's

    p: float
    method: str


def mcnemar(lost: int, won: int) -> Test:
    """Test a change of a rate by the rows that changed: exact below 25 of them, mid-p from there on.

    >>> mcnemar(1, 9)
    Test(p=0.021484375, method='exact McNemar')
    """
    n, fewer = lost + won, min(lost, won)
    exact = min(1.0, 2 * fair_coin_cdf(fewer, n)) if lost != won else 1.0
    if n < EXACT_BELOW:
        return Test(exact, "exact McNemar")
    return Test(1.0 if lost == won else min(1.0, exact - fair_coin_pmf(fewer, n)), "mid-p McNemar")


def paired_t(changes: Sequence[float]) -> Test:
    """Test a mean change by Student's t; changes that are all alike leave nothing to estimate."""
    if len(changes) < 2:
        raise Invalid("a t test needs at least two rows")
    error = standard_error(changes)
    mean = sum(changes) / len(changes)
    if error == 0:
        return Test(1.0 if mean == 0 else 0.0, "paired t")
    return Test(t_two_sided(mean / error, len(changes) - 1), "paired t")


def sign_flip(changes: Sequence[float], *, draws: int = DRAWS, seed: int = 0) -> Test:
    """Test a mean change by flipping signs: all ways for up to 12 changes, else seeded draws.

    Needs no assumption but that, without an effect, a change up is as likely as the same change down. Above 5,000
    different sizes of change it is Student's test, which is then as good.
    """
    sizes = Counter(abs(change) for change in changes if change)
    moved = sizes.total()
    observed = abs(sum(changes)) - 1e-12 * sum(size * count for size, count in sizes.items())
    if moved <= MOST_TO_ENUMERATE:
        flat = list(sizes.elements())
        sums = [sum(map(float.__mul__, map(float, flat), signs)) for signs in product((-1.0, 1.0), repeat=moved)]
        return Test(sum(abs(total) >= observed for total in sums) / len(sums), "exact sign-flip permutation")
    if len(sizes) * FEWEST_DRAWS > MOST_THROWS:
        return paired_t(changes)
    draws = min(draws, MOST_THROWS // len(sizes))
    chance = random.Random(seed)  # noqa: S311 - statistics, not secrets
    groups = tuple(sizes.items())
    # Flipping m equal changes is throwing m coins: one random integer of m bits, its ones counted.
    extreme = sum(
        abs(sum(size * (2 * chance.getrandbits(count).bit_count() - count) for size, count in groups)) >= observed
        for _ in range(draws)
    )
    return Test((extreme + 1) / (draws + 1), f"sign-flip permutation, {draws:,} draws")

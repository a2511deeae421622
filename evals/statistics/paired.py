"""Tests of a change measured twice on the same rows: could chance alone have made it?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evals.statistics.bootstrap import DRAWS, Floats, flipped_sums
from evals.statistics.distributions import fair_coin_cdf, fair_coin_pmf, t_cdf, t_two_sided
from evals.statistics.intervals import Values, standard_error
from workspace.errors import Invalid

EXACT_BELOW = 25  # discordant rows
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


def paired_t(changes: Values) -> Test:
    """Test a mean change by Student's t; changes that are all alike leave nothing to estimate."""
    if len(changes) < 2:
        raise Invalid("a t test needs at least two rows")
    error = standard_error(changes)
    mean = float(np.mean(changes))
    if error == 0:
        return Test(1.0 if mean == 0 else 0.0, "paired t")
    return Test(t_two_sided(mean / error, len(changes) - 1), "paired t")


def not_worse(change: float, error: float, margin: float, *, df: float) -> Test:
    """Test by Student's t, one-sided, whether no more than the margin was lost: a small p rules a larger loss out."""
    if error == 0:
        return Test(0.0 if change > -margin else 1.0, "non-inferiority t, one-sided")
    return Test(1 - t_cdf((change + margin) / error, df), "non-inferiority t, one-sided")


def sign_flip(changes: Values, *, draws: int = DRAWS, seed: int = 0) -> Test:
    """Test a mean change by flipping signs: all ways for up to 12 changes, else seeded draws.

    Needs no assumption but that, without an effect, a change up is as likely as the same change down. From 25 changes
    on the p-value is the mid-p one, as McNemar's: sums that are as large as the observed one count for a half.
    """
    array = np.asarray(changes, dtype=np.float64)
    moved = array[array != 0]
    observed = abs(float(moved.sum())) - 1e-12 * float(np.abs(moved).sum())
    if len(moved) <= MOST_TO_ENUMERATE:
        sums = every_sign(len(moved)) @ moved
        return Test(float((np.abs(sums) >= observed).mean()), "exact sign-flip permutation")
    sums = np.abs(flipped_sums(moved, draws=draws, seed=seed))
    extreme = float((sums >= observed).sum())
    if len(moved) < EXACT_BELOW:
        return Test((extreme + 1) / (draws + 1), f"sign-flip permutation, {draws:,} draws")
    ties = float((sums <= abs(float(moved.sum())) + 1e-9 * float(np.abs(moved).sum())).sum()) - (draws - extreme)
    return Test((extreme - ties / 2 + 1) / (draws + 1), f"mid-p sign-flip permutation, {draws:,} draws")


def every_sign(count: int) -> Floats:
    """Return all ways to sign that many values, one a row."""
    return np.where(np.arange(1 << count)[:, None] >> np.arange(count) & 1, -1.0, 1.0)

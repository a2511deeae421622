"""Ranking: how strong each of several models is, from who beat whom (Bradley and Terry)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evals.statistics.bootstrap import Floats
from evals.statistics.distributions import normal_quantile
from evals.statistics.intervals import CONFIDENCE, Interval
from workspace.errors import Invalid

NEAREST = 1e-12


@dataclass(frozen=True, slots=True)
class Strengths:
    """The strengths of the models as log odds around their mean of zero, each with its interval.

    `errors` is the covariance of the strengths: `between` makes the interval of a difference of it.
    """

    intervals: tuple[Interval, ...]
    errors: Floats

    def between(self, one: int, other: int, *, confidence: float = CONFIDENCE) -> Interval:
        """Return how much stronger `one` is than `other`, in log odds."""
        gap = self.intervals[one].estimate - self.intervals[other].estimate
        spread = self.errors[one, one] + self.errors[other, other] - 2 * self.errors[one, other]
        half = normal_quantile(0.5 + confidence / 2) * math.sqrt(max(0.0, float(spread)))
        return Interval(gap, gap - half, gap + half, "Bradley-Terry")

    def chance(self, one: int, other: int) -> float:
        """Return the chance that `one` beats `other`."""
        gap = self.intervals[one].estimate - self.intervals[other].estimate
        return 1 / (1 + math.exp(-gap))


def bradley_terry(
    wins: Sequence[Sequence[float]] | Floats, *, prior: float = 0.0, confidence: float = CONFIDENCE
) -> Strengths:
    """Return strengths from a table of wins: row i, column j says how often i beat j; a tie is half a win for each.

    `prior` adds that many wins to every side, which keeps a model that never loses from being infinitely strong.
    """
    table = np.asarray(wins, dtype=np.float64)
    if table.ndim != 2 or table.shape[0] != table.shape[1] or len(table) < 2 or (table < 0).any():
        raise Invalid("a ranking needs a square table of wins of at least two models")
    table = table * (1 - np.eye(len(table))) + prior * (1 - np.eye(len(table)))
    _connected(table)
    strengths = _fit(table)
    errors = _covariance(table, strengths)
    z = normal_quantile(0.5 + confidence / 2)
    halves = z * np.sqrt(np.diag(errors))
    intervals = tuple(
        Interval(float(middle), float(middle - half), float(middle + half), "Bradley-Terry")
        for middle, half in zip(strengths, halves, strict=True)
    )
    return Strengths(intervals, errors)


def _fit(wins: Floats) -> Floats:
    """Return the most likely strengths, by Newton's steps; they sum to zero."""
    count, met = len(wins), wins + wins.T
    strengths = np.zeros(count)
    for _ in range(200):
        chances = _chances(strengths)
        slope = wins.sum(axis=1) - (met * chances).sum(axis=1)
        step: Floats = np.linalg.solve(_information(met, chances) + 1 / count, slope)
        # A step too far, where one side wins nearly always, would overshoot for ever.
        step *= min(1.0, 2.0 / max(float(np.abs(step).max()), 1e-300))
        strengths += step
        if float(np.abs(step).max()) < NEAREST:
            break
    centred: Floats = strengths - strengths.mean()
    return centred


def _covariance(wins: Floats, strengths: Floats) -> Floats:
    return np.linalg.pinv(_information(wins + wins.T, _chances(strengths))).astype(np.float64)


def _chances(strengths: Floats) -> Floats:
    chances: Floats = 1 / (1 + np.exp(strengths[None, :] - strengths[:, None]))
    return chances


def _information(met: Floats, chances: Floats) -> Floats:
    weights = met * chances * (1 - chances)
    np.fill_diagonal(weights, 0.0)
    information: Floats = np.diag(weights.sum(axis=1)) - weights
    return information


def _connected(wins: Floats) -> None:
    """Refuse a table in which some models were never beaten by the rest: their strength would have no end."""
    reach = (wins > 0) | np.eye(len(wins), dtype=bool)
    for _ in range(len(wins)):
        reach = reach | ((reach.astype(np.int64) @ reach.astype(np.int64)) > 0)
    if not reach.all():
        raise Invalid(
            "these models cannot be ranked: some were never beaten by others",
            hint="give a prior, as half a win for each side",
        )

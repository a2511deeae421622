"""Which trials are ended early, by what all have logged so far. One interval is one logging of the primary metric."""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import median

from jobs.files.sweep import Bandit, EarlyTermination, MedianStopping, TruncationSelection


class Curve:
    """What a trial has logged, as policies look at it; more is better here, and what is no number is worst."""

    def __init__(self, *values: float, maximize: bool) -> None:
        self._maximize = maximize
        self._bests: list[float] = []
        self._sums: list[float] = []
        for value in values:
            self.add(value)

    def __len__(self) -> int:
        return len(self._bests)

    def add(self, value: float) -> None:
        """Take note of what was logged next."""
        good = -math.inf if math.isnan(value) else value if self._maximize else -value
        self._bests.append(max(good, self._bests[-1]) if self._bests else good)
        self._sums.append(good + (self._sums[-1] if self._sums else 0.0))

    def best(self, interval: int) -> float:
        """Return the best of the values until an interval."""
        return self._bests[min(interval, len(self)) - 1]

    def average(self, interval: int) -> float:
        """Return the average of the values until an interval."""
        count = min(interval, len(self))
        return self._sums[count - 1] / count


Curves = Mapping[int, Curve]  # by the number of the trial; each has logged something


def applies(policy: EarlyTermination, interval: int) -> bool:
    """Whether the policy looks at a trial that has just logged for the `interval`-th time, counted from 1."""
    return interval >= (policy.delay_evaluation or 0) and interval % (policy.evaluation_interval or 1) == 0


def is_cut(
    policy: EarlyTermination, trial: int, curves: Curves, *, maximize: bool, finished: frozenset[int] = frozenset()
) -> str | None:
    """Return why a trial is to end that has just logged, or None. `finished` have come to their own end."""
    if not applies(policy, len(curves[trial])):
        return None
    if isinstance(policy, Bandit):
        return _bandit(policy, trial, curves, 1 if maximize else -1)
    if isinstance(policy, MedianStopping):
        return _median_stopping(trial, curves, 1 if maximize else -1)
    return _truncation(policy, trial, curves, finished)


def _bandit(policy: Bandit, trial: int, curves: Curves, sign: int) -> str | None:
    interval = len(curves[trial])
    best = sign * max(curve.best(interval) for curve in curves.values())
    own = sign * curves[trial].best(interval)
    if policy.slack_amount is not None:
        bound = best - sign * policy.slack_amount
    else:
        slack = 1 + (policy.slack_factor or 0.0)
        # The farther one: of a negative best, a part lies on the other side, and the best would end itself.
        bound = sign * min(sign * best / slack, sign * best * slack)
    if sign * own >= sign * bound:
        return None
    return f"{own:g} is worse than {bound:g}, what bandit leaves of the best, {best:g}, at interval {interval}"


def _median_stopping(trial: int, curves: Curves, sign: int) -> str | None:
    interval = len(curves[trial])
    # Those that have not come so far have no average to compare with.
    middle = median(curve.average(interval) for curve in curves.values() if len(curve) >= interval)
    own = curves[trial].best(interval)
    if own >= middle:
        return None
    return f"{sign * own:g} is worse than {sign * middle:g}, the median of running averages at interval {interval}"


def _truncation(policy: TruncationSelection, trial: int, curves: Curves, finished: frozenset[int]) -> str | None:
    interval = len(curves[trial])
    left_out = finished - {trial} if policy.exclude_finished_jobs else frozenset()
    there = {
        number: curve.best(interval)
        for number, curve in curves.items()
        if len(curve) >= interval and number not in left_out
    }
    worst = sorted(there, key=lambda number: (there[number], -number))
    if trial not in worst[: math.floor(len(worst) * policy.truncation_percentage / 100)]:
        return None
    return f"it is among the worst {policy.truncation_percentage} % of {len(worst)} trials at interval {interval}"

"""Which trials are ended early, by what all have logged so far. One interval is one logging of the primary metric."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, median

from jobs.files.sweep import Bandit, EarlyTermination, MedianStopping, TruncationSelection

Histories = Mapping[int, Sequence[float]]  # what each trial has logged, the first value first


def applies(policy: EarlyTermination, interval: int) -> bool:
    """Whether the policy looks at a trial that has just logged for the `interval`-th time, counted from 1."""
    return interval >= (policy.delay_evaluation or 0) and interval % (policy.evaluation_interval or 1) == 0


def is_cut(
    policy: EarlyTermination,
    trial: int,
    interval: int,
    histories: Histories,
    *,
    maximize: bool,
    finished: frozenset[int] = frozenset(),
) -> str | None:
    """Return why a trial is to end that has just logged for the `interval`-th time, or None. `trial` is in `histories`.

    `finished` are the trials that have come to their own end.
    """
    if not applies(policy, interval):
        return None
    good = {number: _good(history, maximize) for number, history in histories.items() if history}
    if isinstance(policy, Bandit):
        return _bandit(policy, trial, interval, good, maximize)
    if isinstance(policy, MedianStopping):
        return _median_stopping(trial, interval, good, maximize)
    return _truncation(policy, trial, interval, good, finished)


def _bandit(policy: Bandit, trial: int, interval: int, good: Histories, maximize: bool) -> str | None:
    sign = 1 if maximize else -1
    best = sign * max(max(history[:interval]) for history in good.values())
    own = sign * max(good[trial][:interval])
    if policy.slack_amount is not None:
        bound = best - sign * policy.slack_amount
    else:
        slack = 1 + (policy.slack_factor or 0.0)
        # The farther one: of a negative best, a part lies on the other side, and the best would end itself.
        bound = sign * min(sign * best / slack, sign * best * slack)
    if sign * own >= sign * bound:
        return None
    return f"{own:g} is worse than {bound:g}, what bandit leaves of the best, {best:g}, at interval {interval}"


def _median_stopping(trial: int, interval: int, good: Histories, maximize: bool) -> str | None:
    # Those that have not come so far have no average to compare with.
    averages = [fmean(history[:interval]) for history in good.values() if len(history) >= interval]
    middle, own = median(averages), max(good[trial][:interval])
    if own >= middle:
        return None
    sign = 1 if maximize else -1
    return f"{sign * own:g} is worse than {sign * middle:g}, the median of running averages at interval {interval}"


def _truncation(
    policy: TruncationSelection, trial: int, interval: int, good: Histories, finished: frozenset[int]
) -> str | None:
    left_out = finished - {trial} if policy.exclude_finished_jobs else frozenset()
    there = {
        number: max(history[:interval])
        for number, history in good.items()
        if len(history) >= interval and number not in left_out
    }
    worst = sorted(there, key=lambda number: (there[number], -number))
    cut = worst[: math.floor(len(worst) * policy.truncation_percentage / 100)]
    if trial not in cut:
        return None
    return f"it is among the worst {policy.truncation_percentage} % of {len(worst)} trials at interval {interval}"


def _good(history: Sequence[float], maximize: bool) -> list[float]:
    """Return values of which more is better; what is no number is worst."""
    return [-math.inf if math.isnan(value) else value if maximize else -value for value in history]

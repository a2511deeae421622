"""Early termination, by the examples of Azure ML's documentation and by what must always hold."""

from __future__ import annotations

import math
from statistics import fmean, median

from hypothesis import given
from hypothesis import strategies as some

from jobs.files.sweep import Bandit, EarlyTermination, MedianStopping, TruncationSelection
from jobs.sweeps.stopping import Curve, applies
from jobs.sweeps.stopping import is_cut as judged

HISTORY = some.lists(some.floats(-100, 100), min_size=1, max_size=6)
HISTORIES = some.dictionaries(some.integers(0, 6), HISTORY, min_size=1, max_size=6)
POLICIES = some.sampled_from([
    Bandit(type="bandit", slack_factor=0.2), Bandit(type="bandit", slack_amount=0.5),
    MedianStopping(type="median_stopping"), TruncationSelection(type="truncation_selection", truncation_percentage=40),
])  # fmt: skip


def is_cut(
    policy: EarlyTermination,
    trial: int,
    histories: dict[int, list[float]],
    *,
    maximize: bool,
    finished: frozenset[int] = frozenset(),
) -> str | None:
    """Judge a trial at the end of its history."""
    curves = {number: Curve(*values, maximize=maximize) for number, values in histories.items()}
    return judged(policy, trial, curves, maximize=maximize, finished=finished)


def test_bandit_with_a_factor_cuts_below_the_best_over_one_and_the_factor() -> None:
    policy = Bandit(type="bandit", slack_factor=0.2)  # the documentation's example: 0.8 / 1.2 is 0.67
    for value, cut in ((0.66, True), (0.67, False)):
        assert bool(is_cut(policy, 1, {0: [0.8], 1: [value]}, maximize=True)) is cut
    for value, cut in ((0.97, True), (0.95, False)):
        assert bool(is_cut(policy, 1, {0: [0.8], 1: [value]}, maximize=False)) is cut


def test_bandit_with_an_amount_cuts_below_the_best_less_the_amount() -> None:
    policy = Bandit(type="bandit", slack_amount=0.1)
    for value, cut in ((0.69, True), (0.71, False)):
        assert bool(is_cut(policy, 1, {0: [0.8], 1: [value]}, maximize=True)) is cut
    for value, cut in ((0.91, True), (0.89, False)):
        assert bool(is_cut(policy, 1, {0: [0.8], 1: [value]}, maximize=False)) is cut


def test_bandit_compares_at_the_same_interval() -> None:
    policy = Bandit(type="bandit", slack_amount=0.1)
    assert is_cut(policy, 1, {0: [0.1, 0.9], 1: [0.1]}, maximize=True) is None
    assert is_cut(policy, 1, {0: [0.1, 0.9], 1: [0.1, 0.1]}, maximize=True)


@given(some.lists(some.floats(-9, 9), min_size=2, max_size=7), some.booleans())
def test_median_stopping_cuts_whose_best_is_worse_than_the_median_of_averages(own: list[float], maximize: bool) -> None:
    others = {1: [1.0, 2, 3, 4, 5, 6, 7], 2: [3.0, 3, 3, 3, 3, 3, 3], 3: [-2.0]}
    interval = len(own)
    averages = [fmean(each[:interval]) for each in (own, others[1], others[2])]
    best, middle = (max(own), median(averages)) if maximize else (min(own), median(averages))
    worse = best < middle if maximize else best > middle
    cut = is_cut(MedianStopping(type="median_stopping"), 0, {0: own, **others}, maximize=maximize)
    assert bool(cut) is worse


def test_truncation_cuts_the_worst_part_and_no_more() -> None:
    histories = {number: [float(number)] for number in range(10)}
    policy = TruncationSelection(type="truncation_selection", truncation_percentage=20)
    cut = [number for number in histories if is_cut(policy, number, histories, maximize=True)]
    assert cut == [0, 1]
    cut = [number for number in histories if is_cut(policy, number, histories, maximize=False)]
    assert cut == [8, 9]


def test_truncation_may_leave_finished_trials_out() -> None:
    histories = {number: [float(number)] for number in range(4)}
    finished = frozenset({0, 1})
    for exclude, cut in ((False, False), (True, True)):
        policy = TruncationSelection(
            type="truncation_selection", truncation_percentage=50, exclude_finished_jobs=exclude
        )
        assert bool(is_cut(policy, 2, histories, maximize=True, finished=finished)) is cut


def test_a_policy_looks_at_every_so_many_intervals_after_a_delay() -> None:
    policy = Bandit(type="bandit", slack_factor=0.2, evaluation_interval=3, delay_evaluation=5)
    assert [interval for interval in range(1, 13) if applies(policy, interval)] == [6, 9, 12]
    assert [interval for interval in range(1, 4) if applies(MedianStopping(type="median_stopping"), interval)] == [
        1,
        2,
        3,
    ]


def test_no_number_is_worse_than_any_number() -> None:
    assert is_cut(Bandit(type="bandit", slack_factor=0.2), 1, {0: [1.0], 1: [math.nan]}, maximize=False)


@given(HISTORIES, POLICIES, some.booleans())
def test_the_best_is_never_cut(
    histories: dict[int, list[float]], policy: Bandit | MedianStopping | TruncationSelection, maximize: bool
) -> None:
    choose = max if maximize else min
    interval = min(len(history) for history in histories.values())
    histories = {number: history[:interval] for number, history in histories.items()}
    bests = {number: choose(history[:interval]) for number, history in histories.items()}
    best = next(number for number in bests if bests[number] == choose(bests.values()))
    if isinstance(policy, TruncationSelection):
        best = min(number for number in bests if bests[number] == choose(bests.values()))
    assert is_cut(policy, best, histories, maximize=maximize) is None


@given(HISTORIES, some.integers(1, 99), some.booleans())
def test_truncation_never_cuts_more_than_its_part(
    histories: dict[int, list[float]], percentage: int, maximize: bool
) -> None:
    policy = TruncationSelection(type="truncation_selection", truncation_percentage=percentage)
    firsts = {number: history[:1] for number, history in histories.items()}
    cut = [number for number in firsts if is_cut(policy, number, firsts, maximize=maximize)]
    assert len(cut) == math.floor(len(firsts) * percentage / 100)

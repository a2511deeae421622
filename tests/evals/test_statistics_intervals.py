# ruff: noqa: S311 - statistics, not secrets
from __future__ import annotations

import random

import pytest
from scipy import stats

from evals.statistics.intervals import Interval, bca, clopper_pearson, mean_t, newcombe_paired, wilson
from workspace.errors import Invalid

SKEWED = [0.0, 0.0, 0.1, 0.2, 0.2, 0.3, 0.3, 0.4, 0.6, 1.4, 2.2, 0.1, 0.0, 0.5, 3.0]


@pytest.mark.parametrize(("passed", "n"), [(0, 10), (8, 10), (10, 10), (1, 400), (317, 1_000)])
def test_wilson_and_clopper_pearson_equal_scipy(passed: int, n: int) -> None:
    test = stats.binomtest(passed, n)
    for interval, method in ((wilson(passed, n), "wilson"), (clopper_pearson(passed, n), "exact")):
        golden = test.proportion_ci(method=method)
        assert (interval.low, interval.high) == pytest.approx((golden.low, golden.high), rel=1e-10, abs=1e-12)


def test_student_interval_equals_scipy() -> None:
    golden = stats.ttest_1samp(SKEWED, 0).confidence_interval()
    interval = mean_t(SKEWED)
    assert (interval.low, interval.high) == pytest.approx((golden.low, golden.high), rel=1e-10)


def test_bca_equals_scipy_within_the_noise_of_drawing() -> None:
    golden = stats.bootstrap((SKEWED,), lambda x, axis: x.mean(axis=axis), n_resamples=40_000, rng=1)
    interval = bca(SKEWED, draws=40_000)
    assert interval.low == pytest.approx(golden.confidence_interval.low, abs=0.012)
    # A mean of these values moves in steps of 1 in their number: two seeds may differ by one.
    assert interval.high == pytest.approx(golden.confidence_interval.high, abs=1 / len(SKEWED) + 1e-9)


def test_bca_with_the_same_seed_gives_the_same_bounds() -> None:
    assert bca(SKEWED, seed=3) == bca(SKEWED, seed=3) != bca(SKEWED, seed=4)


def test_scores_that_are_all_alike_have_an_interval_of_no_width() -> None:
    assert bca([0.5, 0.5, 0.5]) == Interval(0.5, 0.5, 0.5, "t")


def test_newcombe_equals_the_worked_example_of_his_paper() -> None:
    """Newcombe 1998, Statistics in Medicine 17:2635, table II, cells 36, 12, 2, 0: 0.0569 to 0.3404."""
    interval = newcombe_paired(both=36, lost=2, won=12, neither=0)
    assert interval.estimate == pytest.approx(0.2)
    assert (interval.low, interval.high) == pytest.approx((0.0569, 0.3404), abs=5e-5)


def test_newcombe_turns_round_when_the_runs_change_places() -> None:
    one, other = newcombe_paired(20, 3, 9, 8), newcombe_paired(20, 9, 3, 8)
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low))


def test_newcombe_stays_within_minus_one_and_one() -> None:
    assert newcombe_paired(0, 3, 0, 0).low >= -1
    assert newcombe_paired(0, 0, 3, 0).high <= 1
    identical = newcombe_paired(5, 0, 0, 5)
    assert identical.low < 0 < identical.high


@pytest.mark.parametrize("act", [lambda: wilson(0, 0), lambda: wilson(3, 2), lambda: mean_t([]), lambda: bca([])])
def test_an_estimate_without_rows_is_refused(act: object) -> None:
    assert callable(act)
    with pytest.raises(Invalid):
        act()


@pytest.mark.parametrize(("rate", "n"), [(0.5, 40), (0.9, 40), (0.97, 30)])
def test_wilson_covers_the_truth_about_95_times_in_100(rate: float, n: int) -> None:
    chance = random.Random(7)
    intervals = {passed: wilson(passed, n) for passed in range(n + 1)}
    drawn = (intervals[sum(chance.random() < rate for _ in range(n))] for _ in range(4_000))
    covered = sum(interval.low <= rate <= interval.high for interval in drawn) / 4_000
    assert 0.93 <= covered <= 0.98


def test_newcombe_covers_the_truth_about_95_times_in_100() -> None:
    chance = random.Random(11)
    weights = (0.5, 0.08, 0.18, 0.24)
    covered = 0
    for _ in range(3_000):
        cells = chance.choices(range(4), weights, k=60)
        interval = newcombe_paired(*(cells.count(cell) for cell in range(4)))
        covered += interval.low <= 0.10 <= interval.high
    assert 0.935 <= covered / 3_000 <= 0.975


def test_bca_covers_the_truth_of_skewed_scores_about_95_times_in_100() -> None:
    chance = random.Random(5)
    covered = 0
    for _ in range(500):
        interval = bca([chance.expovariate(1.0) for _ in range(40)], draws=1_000)
        covered += interval.low <= 1.0 <= interval.high
    assert 0.90 <= covered / 500 <= 0.975

"""The promises of the statistics, kept by simulation: a bounded form of benchmarks/eval_statistics.py."""

from __future__ import annotations

import numpy as np
import pytest

from evals.measure import measure
from evals.statistics.clusters import clustered, fitting_test
from evals.statistics.intervals import wilson
from evals.statistics.paired import mcnemar, paired_t
from evals.statistics.power import rows_for_mean, rows_for_rate

TRIALS = 1_000  # of a share of 5 %, 95 in 100 such simulations lie within 3.6 and 6.4 %


@pytest.mark.parametrize("rate", [0.5, 0.8, 0.95])
def test_wilson_covers_95_of_100(rate: float) -> None:
    passed = np.random.default_rng(1).binomial(100, rate, TRIALS)
    inside = [wilson(int(count), 100).low <= rate <= wilson(int(count), 100).high for count in passed]
    assert 0.93 <= np.mean(inside) <= 0.975


def test_passes_of_the_same_thing_alarm_5_times_in_100() -> None:
    chance = np.random.default_rng(2)
    rates = chance.beta(4, 1, size=(TRIALS, 600))
    one, other = chance.random(rates.shape) < rates, chance.random(rates.shape) < rates
    lost, won = (one & ~other).sum(axis=1), (~one & other).sum(axis=1)
    alarms = np.mean([mcnemar(int(a), int(b)).p < 0.05 for a, b in zip(lost, won, strict=True)])
    assert 0.032 <= alarms <= 0.068


@pytest.mark.parametrize("count", [12, 50])
def test_rows_that_change_together_alarm_5_times_in_100_and_ten_times_as_often_if_nobody_minds(count: int) -> None:
    chance = np.random.default_rng(3)
    of = np.repeat(np.arange(count), 10)
    ours = naive = 0
    for _ in range(400):
        values = chance.normal(size=count)[of] + 0.64 * chance.normal(size=count * 10)  # 71 % are the cluster's
        ours += fitting_test(clustered(values, of.tolist())).p < 0.05
        naive += paired_t(values).p < 0.05
    assert 0.025 <= ours / 400 <= 0.08
    assert naive / 400 > 0.35


def test_the_whole_measurement_of_clustered_passes_alarms_no_more_than_it_should() -> None:
    chance = np.random.default_rng(4)
    of = [str(number // 5) for number in range(300)]
    alarms = 0
    for _ in range(300):
        rates = np.repeat(chance.beta(4, 1, size=60), 5)
        one, other = (chance.random((2, 300)) < rates).astype(float)
        alarms += measure(one.tolist(), other.tolist(), clusters=of).test.p < 0.05
    assert alarms / 300 <= 0.08


@pytest.mark.parametrize(("gap", "disagreement"), [(0.05, 0.1), (0.03, 0.2)])
def test_planned_rows_show_the_change_of_a_rate_8_times_in_10(gap: float, disagreement: float) -> None:
    n, won = rows_for_rate(gap, disagreement), (disagreement + gap) / 2
    flips = np.random.default_rng(5).multinomial(n, [won, disagreement - won, 1 - disagreement], size=2 * TRIALS)
    assert 0.77 <= np.mean([mcnemar(int(lost), int(win)).p < 0.05 for win, lost, _ in flips]) <= 0.83


def test_planned_rows_show_the_change_of_a_mean_8_times_in_10() -> None:
    chance, n = np.random.default_rng(6), rows_for_mean(0.05, 0.3)
    assert 0.77 <= np.mean([paired_t(chance.normal(0.05, 0.3, n)).p < 0.05 for _ in range(TRIALS)]) <= 0.83

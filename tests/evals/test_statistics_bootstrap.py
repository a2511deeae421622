from __future__ import annotations

import time

import numpy as np
import pytest

from evals.statistics import bootstrap
from evals.statistics.intervals import bca, mean_t


def test_a_hundred_thousand_rows_are_drawn_ten_thousand_times_in_seconds_of_work() -> None:
    values = np.random.default_rng(1).beta(4, 1, size=100_000)
    started = time.process_time()
    interval = bca(values)
    assert time.process_time() - started < 5
    told = mean_t(values)
    assert (interval.low, interval.high) == pytest.approx((told.low, told.high), abs=0.05 * (told.high - told.low))


@pytest.mark.parametrize("kind", ["picked", "counted", "binned"])
def test_resamples_have_the_mean_and_the_spread_that_they_must_have(kind: str) -> None:
    chance = np.random.default_rng(2)
    n = 20_000 if kind == "binned" else 1_000
    values = chance.exponential(size=n) if kind != "counted" else chance.integers(0, 5, size=n).astype(float)
    drawn = bootstrap.means(values, draws=10_000)
    assert drawn.mean() == pytest.approx(values.mean(), abs=5 * values.std() / np.sqrt(n * 10_000))
    assert drawn.std() == pytest.approx(values.std() / np.sqrt(n), rel=0.03)


def test_signs_drawn_for_bins_spread_as_those_of_every_value() -> None:
    changes = np.random.default_rng(3).normal(size=50_000)
    sums = bootstrap.flipped_sums(changes, draws=4_000)
    assert sums.std() == pytest.approx(np.sqrt((changes**2).sum()), rel=0.05)
    assert abs(sums.mean()) < 5 * np.sqrt((changes**2).sum() / 4_000)

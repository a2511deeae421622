from __future__ import annotations

import math

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from evals.statistics import clusters
from evals.statistics.clusters import clustered
from workspace.errors import Invalid


def sampled(seed: int, count: int, shift: float = 0.0) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return values that share much within their cluster, clusters of 1 to 9 rows."""
    chance = np.random.default_rng(seed)
    of = np.repeat(np.arange(count), chance.integers(1, 10, size=count))
    return shift + chance.normal(size=count)[of] + 0.5 * chance.normal(size=len(of)), of


def test_the_cr1_error_interval_and_p_value_equal_statsmodels() -> None:
    values, of = sampled(1, 40, 0.4)
    golden = sm.OLS(values, np.ones(len(values))).fit(
        cov_type="cluster", cov_kwds={"groups": of, "df_correction": True}, use_t=True
    )
    measured = clustered(values, of.tolist())
    assert measured.error == pytest.approx(golden.bse[0], rel=1e-9)
    assert clusters.t_test(measured).p == pytest.approx(golden.pvalues[0], rel=1e-7)
    interval = clusters.t_interval(measured)
    assert (interval.low, interval.high) == pytest.approx(tuple(golden.conf_int()[0]), rel=1e-7)


def test_clusters_of_one_row_are_the_plain_t_test() -> None:
    values = [0.1, 0.5, 0.2, 0.9, 0.4]
    from evals.statistics.intervals import mean_t

    plain, each = mean_t(values), clusters.t_interval(clustered(values, range(5)))
    assert (each.low, each.high) == pytest.approx((plain.low, plain.high))


def test_the_wild_bootstrap_of_few_equal_clusters_is_a_permutation_of_their_means() -> None:
    """With clusters of one size the statistic rises with the sum, so that signing clusters is a sign-flip test."""
    from evals.statistics.paired import sign_flip

    chance = np.random.default_rng(4)
    values, of = chance.normal(0.5, 1, size=60), [number // 5 for number in range(60)]
    means = values.reshape(12, 5).mean(axis=1)
    assert clusters.wild_test(clustered(values, of)).p == pytest.approx(sign_flip(means.tolist()).p)


def test_the_wild_interval_leaves_out_exactly_what_the_test_rejects() -> None:
    values, of = sampled(3, 20, 0.3)
    interval = clusters.wild_interval(clustered(values, of.tolist()))
    for edge, out in ((interval.low, -1e-6), (interval.high, 1e-6)):
        assert clusters.wild_test(clustered(values - edge - out, of.tolist())).p <= 0.05
        assert clusters.wild_test(clustered(values - edge + out, of.tolist())).p > 0.05


def test_five_clusters_can_show_nothing_at_5_percent() -> None:
    measured = clustered([1.0, 1.1, 0.9, 1.2, 0.8], range(5))
    assert clusters.fitting_test(measured).p >= 2 / 32
    assert math.isinf(clusters.interval(measured).high)


def test_one_cluster_says_nothing_of_others() -> None:
    measured = clustered([1.0, 1.0, 0.5], ["a"] * 3)
    assert clusters.fitting_test(measured).p == 1.0
    assert math.isinf(clusters.interval(measured).low)
    assert clusters.rate(clustered([1.0, 0.0, 1.0], ["a"] * 3)).high > 0.97


def test_a_rate_of_rows_that_all_agree_is_as_sure_as_its_clusters_are_many() -> None:
    from evals.statistics.intervals import wilson

    measured = clusters.rate(clustered([1.0] * 100, [number // 10 for number in range(100)]))
    assert measured.low == pytest.approx(wilson(10, 10).low)


def test_values_without_a_cluster_each_are_refused() -> None:
    with pytest.raises(Invalid, match="needs its cluster"):
        clustered([1.0, 0.0], ["a"])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([-1.0, 0.0, 1.0]), st.integers(0, 40)), min_size=2, max_size=120))
def test_the_mean_lies_in_its_interval_and_turning_signs_turns_it(rows: list[tuple[float, int]]) -> None:
    values, of = [value for value, _ in rows], [cluster for _, cluster in rows]
    there = clusters.interval(clustered(values, of))
    back = clusters.interval(clustered([-value for value in values], of))
    assert there.low - 1e-9 <= there.estimate <= there.high + 1e-9
    assert 0 <= clusters.fitting_test(clustered(values, of)).p <= 1
    assert back.low == pytest.approx(-there.high, abs=0.05)

from __future__ import annotations

import pytest
from scipy import stats

from evals.statistics import distributions


@pytest.mark.parametrize(("a", "b"), [(0.5, 0.5), (1, 9), (8, 3), (50.5, 0.5), (400, 600), (50_000, 0.5)])
@pytest.mark.parametrize("x", [0.0, 1e-6, 0.02, 0.4, 0.5, 0.77, 0.999, 1.0])
def test_beta_cdf_equals_scipy(a: float, b: float, x: float) -> None:
    assert distributions.beta_cdf(x, a, b) == pytest.approx(stats.beta.cdf(x, a, b), rel=1e-9, abs=1e-13)


@pytest.mark.parametrize("p", [0.005, 0.025, 0.3, 0.5, 0.8, 0.975, 0.9999])
@pytest.mark.parametrize("df", [1, 4, 39, 99_999])
def test_t_quantile_equals_scipy(p: float, df: int) -> None:
    assert distributions.t_quantile(p, df) == pytest.approx(stats.t.ppf(p, df), rel=1e-8, abs=1e-9)


@pytest.mark.parametrize("t", [0.0, 0.3, 1.96, -2.5, 12.0])
@pytest.mark.parametrize("df", [1, 9, 5_000])
def test_t_p_value_equals_scipy(t: float, df: int) -> None:
    assert distributions.t_two_sided(t, df) == pytest.approx(2 * stats.t.sf(abs(t), df), rel=1e-9)


@pytest.mark.parametrize(("p", "a", "b"), [(0.025, 3, 8), (0.975, 1, 10), (0.5, 200, 1)])
def test_beta_quantile_equals_scipy(p: float, a: float, b: float) -> None:
    assert distributions.beta_quantile(p, a, b) == pytest.approx(stats.beta.ppf(p, a, b), rel=1e-11)


@pytest.mark.parametrize(("k", "n"), [(-1, 5), (0, 6), (2, 9), (12, 24), (40, 100), (4_900, 10_000), (7, 7)])
def test_fair_coin_equals_scipy(k: int, n: int) -> None:
    assert distributions.fair_coin_cdf(k, n) == pytest.approx(stats.binom.cdf(k, n, 0.5), rel=1e-9)
    if k >= 0:
        assert distributions.fair_coin_pmf(k, n) == pytest.approx(stats.binom.pmf(k, n, 0.5), rel=1e-8)


@pytest.mark.parametrize("z", [-6.0, -1.0, 0.0, 2.5])
def test_normal_equals_scipy(z: float) -> None:
    assert distributions.normal_cdf(z) == pytest.approx(stats.norm.cdf(z), rel=1e-12)
    assert distributions.normal_quantile(stats.norm.cdf(z)) == pytest.approx(z, abs=1e-9)

"""The normal, t, beta and binomial distributions, to full precision in plain Python: the light core has no scipy."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from statistics import NormalDist

_normal = NormalDist()


def normal_cdf(z: float) -> float:
    """Return P(Z <= z) of the standard normal."""
    return 0.5 * math.erfc(-z / math.sqrt(2))


def normal_quantile(p: float) -> float:
    """Return the z with P(Z <= z) = p: `normal_quantile(0.975)` is 1.95996."""
    return _normal.inv_cdf(p)


def beta_cdf(x: float, a: float, b: float) -> float:
    """Return the regularized incomplete beta function I_x(a, b), by its continued fraction."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(x, a, b) / a
    return 1 - front * _fraction(1 - x, b, a) / b


def _fraction(x: float, a: float, b: float) -> float:
    tiny = 1e-300
    c, d = 1.0, 1 / ((1 - (a + b) * x / (a + 1)) or tiny)
    value = d
    for m in range(1, 10_000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1 / ((1 + term * d) or tiny)
            c = (1 + term / c) or tiny
            value *= c * d
        if abs(c * d - 1) < 1e-16:
            break
    return value


def beta_quantile(p: float, a: float, b: float) -> float:
    """Return the x with I_x(a, b) = p."""
    return _solve(lambda x: beta_cdf(x, a, b) - p, 0.0, 1.0)


def t_two_sided(t: float, df: float) -> float:
    """Return P(|T| >= |t|): the two-sided p-value of a t statistic."""
    return beta_cdf(df / (df + t * t), df / 2, 0.5)


def t_cdf(t: float, df: float) -> float:
    """Return P(T <= t) of Student's distribution."""
    tail = t_two_sided(t, df) / 2
    return tail if t < 0 else 1 - tail


@lru_cache(maxsize=4096)  # slices and looks ask for the same ones again and again
def t_quantile(p: float, df: float) -> float:
    """Return the t with P(T <= t) = p: `t_quantile(0.975, 9)` is 2.26216."""
    if p < 0.5:
        return -t_quantile(1 - p, df)
    high = 1.0
    while t_two_sided(high, df) > 2 * (1 - p):
        high *= 2
    return _solve(lambda t: 2 * (1 - p) - t_two_sided(t, df), 0.0, high)


def fair_coin_cdf(k: int, n: int) -> float:
    """Return the chance of at most `k` heads in `n` throws of a fair coin."""
    if k < 0 or k >= n:
        return float(k >= n)
    return beta_cdf(0.5, n - k, k + 1)


def fair_coin_pmf(k: int, n: int) -> float:
    """Return the chance of exactly `k` heads in `n` throws of a fair coin."""
    if n <= 1000:
        return math.comb(n, k) / (1 << n)
    return math.exp(math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) - n * math.log(2))


def _solve(rising: Callable[[float], float], low: float, high: float) -> float:
    """Return where a rising function crosses zero, to the last bit that halving can reach."""
    while low < (middle := (low + high) / 2) < high:
        if rising(middle) < 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2

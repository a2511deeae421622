"""Distances of distributions: worked examples of SciPy, scikit-learn and of the papers."""

from __future__ import annotations

import math

import pytest

from jobs.monitors import attribution, distances, performance

numpy = pytest.importorskip("numpy")
pytest.importorskip("scipy")


def counts(*values: float) -> distances.Numbers:
    found: distances.Numbers = numpy.array(values, dtype=float)
    return found


def test_jensen_shannon_is_a_distance_in_base_2() -> None:
    assert distances.jensen_shannon(counts(5, 0, 0), counts(0, 5, 0)) == pytest.approx(1.0)
    assert distances.jensen_shannon(counts(10, 0), counts(5, 5)) == pytest.approx(0.5579230452841438)
    assert distances.jensen_shannon(counts(3, 7), counts(30, 70)) == pytest.approx(0.0)


def test_wasserstein_is_in_standard_deviations_of_the_reference() -> None:
    # SciPy's own example: the distance is 5.
    found = distances.wasserstein(counts(0, 1, 3), counts(5, 6, 8))
    assert found == pytest.approx(5.0 / math.sqrt(7 / 3))
    assert distances.wasserstein(counts(2, 2), counts(2, 3)) == pytest.approx(0.5 / distances.SMALLEST_DEVIATION)


def test_population_stability_is_the_sum_of_differences_by_their_log_ratios() -> None:
    # One is added to each count, so that empty bins have a logarithm: 100 + 1 of 300, and so on.
    before, after = counts(100, 100, 100), counts(120, 90, 90)
    expected = (121 - 101) / 300 * math.log(121 / 101) + 2 * (91 - 101) / 300 * math.log(91 / 101)
    assert distances.population_stability(before, after) == pytest.approx(expected)
    assert math.isfinite(distances.population_stability(counts(10, 0), counts(0, 10)))


def test_kolmogorov_smirnov_gives_the_exact_probability_of_small_samples() -> None:
    # Two orders of the twenty are as far apart as this: p = 2 / 20.
    assert distances.kolmogorov_smirnov(counts(1, 2, 3), counts(4, 5, 6)) == pytest.approx(0.1)


def test_chi_squared_takes_the_shares_of_the_reference_as_expected() -> None:
    # SciPy's example, against equal frequencies: statistic 2.0, p 0.849145.
    found = distances.chi_squared(counts(9, 9, 9, 9, 9, 9), counts(16, 18, 16, 14, 12, 12))
    assert found == pytest.approx(0.84914503608460956)
    assert distances.chi_squared(counts(5, 0), counts(4, 1)) == 0.0
    assert distances.chi_squared(counts(5), counts(9)) == 1.0


def test_bins_are_of_equal_width_and_as_many_as_sturges_says() -> None:
    edges = distances.edges(numpy.arange(0.0, 64.0), numpy.arange(0.0, 1000.0))
    assert (len(edges) - 1, edges[0], edges[-1]) == (7, 0.0, 999.0)  # log2(64) + 1
    assert list(distances.edges(counts(0, 0), counts(0))) == [0.0, 0.01]
    assert distances.edges(counts(-5), counts(-5))[1] > -5


def test_the_order_of_importance_is_compared_by_discounted_gain() -> None:
    pytest.importorskip("sklearn")
    # scikit-learn's own example.
    assert attribution.gain([10, 0, 0, 1, 5], [0.1, 0.2, 0.3, 4, 70]) == pytest.approx(0.6956940443813076)
    assert attribution.gain([3, 2, 1], [30, 20, 10]) == pytest.approx(1.0)
    dcg = 1 + 2 / math.log2(3) + 3 / 2  # the order turned round, by the formula of the paper
    assert attribution.gain([3, 2, 1], [10, 20, 30]) == pytest.approx(dcg / (3 + 2 / math.log2(3) + 1 / 2))


def test_scores_of_classes_are_those_of_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    said, meant = list("abacabbacc"), list("abccabaacb")
    pairs = [(one, other, sum(pair == (one, other) for pair in zip(said, meant, strict=True)))
             for one, other in set(zip(said, meant, strict=True))]  # fmt: skip
    found = performance.scores(pairs)
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(meant, said))
    assert found["precision"] == pytest.approx(metrics.precision_score(meant, said, average="macro", zero_division=0))
    assert found["recall"] == pytest.approx(metrics.recall_score(meant, said, average="macro", zero_division=0))

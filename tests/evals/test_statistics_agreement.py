from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.inter_rater import cohens_kappa

from evals.statistics.agreement import (
    Calibration,
    Weights,
    calibration,
    cohen_kappa,
    corrected_rate,
    krippendorff_alpha,
    position_bias,
    verbosity_bias,
)
from workspace.errors import Invalid

TABLE = [[44, 5, 1], [7, 20, 3], [9, 5, 6]]
PAIRS = [(one, other) for one in range(3) for other in range(3) for _ in range(TABLE[one][other])]
# Krippendorff (2011), "Computing Krippendorff's Alpha-Reliability", example C: 4 observers, 12 units.
NONE = None
RATED = [
    (1, 1, NONE, 1),
    (2, 2, 3, 2),
    (3, 3, 3, 3),
    (3, 3, 3, 3),
    (2, 2, 2, 2),
    (1, 2, 3, 4),
    (4, 4, 4, 4),
    (1, 1, 2, 1),
    (2, 2, 2, 2),
    (NONE, 5, 5, 5),
    (NONE, NONE, 1, 1),
    (NONE, 3, NONE, NONE),
]


@pytest.mark.parametrize(("weights", "theirs"), [("none", None), ("linear", "linear"), ("quadratic", "quadratic")])
def test_kappa_and_its_interval_equal_statsmodels(weights: Weights, theirs: str | None) -> None:
    golden = cohens_kappa(np.array(TABLE), wt=theirs)
    found = cohen_kappa(PAIRS, weights=weights)
    assert found.estimate == pytest.approx(golden.kappa, abs=1e-12)
    assert (found.low, found.high) == pytest.approx((golden.kappa_low, golden.kappa_upp), abs=1e-9)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=1))
def test_kappa_is_the_same_from_both_sides_and_1_where_all_agree(pairs: list[tuple[str, str]]) -> None:
    found, turned = cohen_kappa(pairs), cohen_kappa([(other, one) for one, other in pairs])
    assert found.estimate == pytest.approx(turned.estimate)
    assert cohen_kappa([(one, one) for one, _ in pairs]).estimate == pytest.approx(1.0)


def test_alpha_equals_the_published_example() -> None:
    assert krippendorff_alpha(RATED).estimate == pytest.approx(0.743, abs=5e-4)
    assert krippendorff_alpha(RATED, level="ordinal").estimate == pytest.approx(0.815, abs=5e-4)
    assert krippendorff_alpha(RATED, level="interval").estimate == pytest.approx(0.849, abs=5e-4)


def test_the_interval_of_alpha_holds_it_and_is_wide_for_few_units() -> None:
    found = krippendorff_alpha(RATED)
    assert found.low < 0.6 < found.estimate < found.high <= 1
    assert krippendorff_alpha(RATED * 20).low > found.low


def test_a_judge_is_counted_against_people() -> None:
    told = [(True, True)] * 40 + [(False, True)] * 10 + [(False, False)] * 45 + [(True, False)] * 5
    assert calibration(told) == Calibration(passed_right=40, passed=50, failed_right=45, failed=50)
    with pytest.raises(Invalid, match="others that they failed"):
        calibration([(True, True)])


def test_a_perfect_judge_needs_no_correction_and_a_lenient_one_does() -> None:
    exact = Calibration(passed_right=1_000, passed=1_000, failed_right=1_000, failed=1_000)
    assert corrected_rate(70, 100, exact).estimate == pytest.approx(0.7)
    lenient = Calibration(passed_right=95, passed=100, failed_right=60, failed=100)
    found = corrected_rate(70, 100, lenient)
    assert found.estimate == pytest.approx((0.7 + 0.6 - 1) / (0.95 + 0.6 - 1))
    assert found.high - found.low > 0.25


def test_the_true_rate_lies_in_the_corrected_interval_and_not_in_the_judges_own() -> None:
    from evals.statistics.intervals import wilson

    chance = np.random.default_rng(3)
    inside = naive = 0
    for _ in range(1_000):
        se, sp, rate = 0.9, 0.8, 0.6
        by = Calibration(
            passed_right=int(chance.binomial(60, se)), passed=60, failed_right=int(chance.binomial(40, sp)), failed=40
        )
        passed = int(chance.binomial(500, rate * se + (1 - rate) * (1 - sp)))
        found, own = corrected_rate(passed, 500, by), wilson(passed, 500)
        inside += found.low <= rate <= found.high
        naive += own.low <= rate <= own.high
    assert 0.93 <= inside / 1_000 <= 0.975
    assert naive / 1_000 < 0.9


def test_a_judge_no_better_than_a_coin_corrects_nothing() -> None:
    coin = Calibration(passed_right=25, passed=50, failed_right=25, failed=50)
    with pytest.raises(Invalid, match="no better than chance"):
        corrected_rate(5, 10, coin)


def test_a_judge_that_prefers_the_first_place_is_found_out() -> None:
    found = position_bias([("first", "second")] * 20 + [("first", "first")] * 12 + [("second", "second")] * 2)
    assert found.consistent.estimate == pytest.approx(20 / 34)
    assert found.first is not None
    assert found.first.estimate == pytest.approx(12 / 14)
    assert found.test.p == pytest.approx(stats.binomtest(12, 14).pvalue)
    assert position_bias([("tie", "tie")]).first is None
    with pytest.raises(Invalid, match="third"):
        position_bias([("third", "first")])


def test_length_and_grade_correlate_as_scipy_says_and_what_people_say_is_taken_off() -> None:
    chance = np.random.default_rng(1)
    lengths = chance.integers(5, 60, size=80).astype(float)
    people = np.round(chance.random(80) * 4) + 1
    judged = people + np.round(lengths / 30)
    assert verbosity_bias(lengths.tolist(), judged.tolist()).estimate == pytest.approx(
        stats.spearmanr(lengths, judged).statistic, abs=1e-12
    )
    assert verbosity_bias(lengths.tolist(), judged.tolist(), people.tolist()).low > 0.8
    assert verbosity_bias(lengths.tolist(), people.tolist(), people.tolist()).estimate == 0.0

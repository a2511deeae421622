# ruff: noqa: S311 - statistics, not secrets
from __future__ import annotations

import random

import pytest
from scipy import stats

from evals.statistics.intervals import standard_error
from evals.statistics.paired import mcnemar, not_worse, paired_t, sign_flip
from workspace.errors import Invalid

CHANGES = [0.25, 0.0, -0.25, 0.5, 0.75, 0.25, 0.25, -0.5, 1.0, 0.0, 0.25, 0.5]


@pytest.mark.parametrize(("lost", "won"), [(0, 0), (0, 5), (1, 9), (7, 7), (12, 3), (10, 14)])
def test_few_discordant_rows_get_the_exact_binomial_test(lost: int, won: int) -> None:
    golden = stats.binomtest(lost, lost + won).pvalue if lost + won else 1.0
    result = mcnemar(lost, won)
    assert result.p == pytest.approx(golden, rel=1e-10)
    assert result.method == "exact McNemar"


@pytest.mark.parametrize(("lost", "won"), [(10, 15), (40, 22), (500, 560)])
def test_many_discordant_rows_get_the_mid_p_value(lost: int, won: int) -> None:
    n = lost + won
    golden = stats.binomtest(lost, n).pvalue - stats.binom.pmf(min(lost, won), n, 0.5)
    result = mcnemar(lost, won)
    assert result.p == pytest.approx(golden, rel=1e-8)
    assert result.method == "mid-p McNemar"


def test_which_run_comes_first_does_not_change_the_p_value() -> None:
    assert mcnemar(31, 12).p == mcnemar(12, 31).p


def test_paired_t_equals_scipy() -> None:
    assert paired_t(CHANGES).p == pytest.approx(stats.ttest_1samp(CHANGES, 0).pvalue, rel=1e-10)


@pytest.mark.parametrize("margin", [0.0, 0.1, 0.5])
def test_non_inferiority_equals_scipys_one_sided_t(margin: float) -> None:
    golden = stats.ttest_1samp(CHANGES, -margin, alternative="greater").pvalue
    mean = sum(CHANGES) / len(CHANGES)
    found = not_worse(mean, standard_error(CHANGES), margin, df=len(CHANGES) - 1)
    assert found.p == pytest.approx(golden, rel=1e-7)


def test_changes_that_are_all_zero_are_no_evidence() -> None:
    assert paired_t([0.0, 0.0, 0.0]).p == 1.0
    assert sign_flip([0.0, 0.0]).p == 1.0


def test_one_row_is_too_few_for_a_t_test() -> None:
    with pytest.raises(Invalid, match="two rows"):
        paired_t([0.5])


def test_a_few_changes_are_flipped_in_every_way_as_scipy_does() -> None:
    golden = stats.permutation_test(
        (CHANGES,), lambda x, axis: x.mean(axis=axis), permutation_type="samples", vectorized=True
    )
    result = sign_flip(CHANGES)
    assert result.p == pytest.approx(golden.pvalue, rel=1e-9)
    assert result.method == "exact sign-flip permutation"


def test_many_changes_are_flipped_by_seeded_draws_near_the_t_test() -> None:
    chance = random.Random(2)
    changes = [chance.gauss(0.15, 1.0) for _ in range(150)]
    assert sign_flip(changes, seed=1) == sign_flip(changes, seed=1)
    assert sign_flip(changes).p == pytest.approx(paired_t(changes).p, abs=0.02)


def test_exact_mcnemar_and_sign_flip_agree_on_pass_and_fail() -> None:
    changes = [1.0] * 9 + [-1.0] * 2 + [0.0] * 30
    assert sign_flip(changes).p == pytest.approx(mcnemar(2, 9).p)


def test_two_runs_of_the_same_thing_are_called_different_at_most_5_times_in_100() -> None:
    """An A/A test: exact McNemar is conservative for few flips, mid-p comes near 5 %."""
    chance = random.Random(13)

    def false_alarms(flips: int) -> float:
        lost = [chance.getrandbits(flips).bit_count() for _ in range(4_000)]
        return sum(mcnemar(count, flips - count).p < 0.05 for count in lost) / 4_000

    assert false_alarms(16) <= 0.05
    assert 0.035 <= false_alarms(200) <= 0.062


def test_graded_runs_of_the_same_thing_are_called_different_about_5_times_in_100() -> None:
    chance = random.Random(17)
    alarms = sum(
        sign_flip([chance.choice((-0.5, -0.25, 0, 0, 0.25, 0.5)) for _ in range(60)], draws=400, seed=seed).p < 0.05
        for seed in range(1_000)
    )
    assert 0.03 <= alarms / 1_000 <= 0.07

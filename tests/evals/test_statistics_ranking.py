from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm

from evals.statistics.ranking import bradley_terry
from workspace.errors import Invalid

WINS = [[0, 30, 45, 50], [20, 0, 34, 41], [10, 16, 0, 28], [6, 9, 22, 0]]


def test_strengths_and_the_errors_of_their_differences_equal_a_logistic_regression() -> None:
    forward = sm.GLM(
        np.array([[WINS[i][j], WINS[j][i]] for i in range(4) for j in range(i + 1, 4)]),
        np.array([np.eye(4)[i] - np.eye(4)[j] for i in range(4) for j in range(i + 1, 4)])[:, 1:],
        family=sm.families.Binomial(),
    ).fit(tol=1e-14, maxiter=100)
    found = bradley_terry(WINS)
    for model in range(1, 4):
        between = found.between(model, 0)
        assert between.estimate == pytest.approx(forward.params[model - 1], abs=1e-8)
        assert (between.low, between.high) == pytest.approx(tuple(forward.conf_int()[model - 1]), abs=1e-6)
    assert sum(interval.estimate for interval in found.intervals) == pytest.approx(0, abs=1e-9)


def test_of_two_models_the_chance_is_the_share_of_wins() -> None:
    assert bradley_terry([[0, 7], [3, 0]]).chance(0, 1) == pytest.approx(0.7)


def test_ties_are_half_a_win_for_each() -> None:
    assert bradley_terry([[0, 5.5], [5.5, 0]]).between(0, 1).estimate == pytest.approx(0, abs=1e-9)


def test_a_model_that_never_loses_is_refused_unless_a_prior_is_given() -> None:
    with pytest.raises(Invalid, match="cannot be ranked"):
        bradley_terry([[0, 5, 5], [0, 0, 2], [0, 3, 0]])
    assert bradley_terry([[0, 5, 5], [0, 0, 2], [0, 3, 0]], prior=0.5).intervals[0].estimate > 0.5


def test_a_table_that_is_not_square_is_refused() -> None:
    with pytest.raises(Invalid, match="square"):
        bradley_terry([[0, 1, 2], [1, 0, 2]])


def test_the_true_gap_lies_in_19_of_20_intervals() -> None:
    chance = np.random.default_rng(6)
    inside = 0
    for _ in range(300):
        won = chance.binomial(60, 1 / (1 + np.exp(-0.5)), size=2)
        table = np.array([[0, won[0], won[1]], [60 - won[0], 0, 30], [60 - won[1], 30, 0]])
        interval = bradley_terry(table).between(0, 1)
        inside += interval.low <= 0.5 <= interval.high
    assert 0.91 <= inside / 300 <= 0.99

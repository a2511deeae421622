from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from scipy import stats

from evals.statistics.noise import noise
from workspace.errors import Invalid


def test_the_variance_within_rows_equals_that_of_an_analysis_of_variance() -> None:
    chance = np.random.default_rng(2)
    rows = [[float(chance.normal(middle, 0.3)) for _ in range(4)] for middle in chance.normal(size=30)]
    measured = noise(rows)
    table = pd.DataFrame(
        [(number, value) for number, row in enumerate(rows) for value in row], columns=["row", "score"]
    )
    model = smf.ols("score ~ C(row)", table).fit()
    assert measured.within == pytest.approx(model.mse_resid, rel=1e-9)
    among = stats.f_oneway(*rows).statistic * model.mse_resid
    assert measured.between == pytest.approx((among - model.mse_resid) / 4, rel=1e-9)
    assert measured.alike > 0.8


def test_two_runs_of_the_same_thing_stay_below_the_floor_95_times_in_100() -> None:
    chance = np.random.default_rng(5)
    rates = chance.random(200)
    floor = noise((chance.random((5, 200)) < rates).astype(float).T.tolist()).floor
    one, other = ((chance.random((2_000, 200)) < rates).mean(axis=1) for _ in range(2))
    assert 0.92 <= float((np.abs(one - other) < floor).mean()) <= 0.98


def test_the_flip_rate_is_the_chance_that_two_repeats_disagree() -> None:
    assert noise([[1, 1, 0], [1, 1, 1]]).flip_rate == pytest.approx((2 / 3 + 0) / 2)


def test_what_never_changes_has_no_noise() -> None:
    measured = noise([[1.0, 1.0], [0.0, 0.0], [1.0, 1.0]])
    assert (measured.within, measured.flip_rate, measured.floor, measured.alike) == (0.0, 0.0, 0.0, 1.0)


def test_rows_that_were_asked_once_say_nothing_of_noise() -> None:
    with pytest.raises(Invalid, match="asked twice"):
        noise([[1.0], [0.0], [1.0, 1.0]])

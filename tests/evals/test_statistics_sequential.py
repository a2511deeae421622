from __future__ import annotations

import numpy as np
import pytest

from evals.statistics.intervals import mean_t
from evals.statistics.sequential import Looks
from workspace.errors import Invalid


def test_looking_after_every_row_excludes_the_truth_in_at_most_5_of_100_runs() -> None:
    """The t interval, looked at as often, leaves it out more than three times as often."""
    chance = np.random.default_rng(8)
    missed = fixed = 0
    for _ in range(200):
        values = chance.choice([-1.0, 0.0, 1.0], p=[0.1, 0.8, 0.1], size=300)
        looks = Looks(-1.0, 1.0)
        looks.add(values)
        missed += looks.test().p < 0.05
        fixed += any(not (i := mean_t(values[:n])).low <= 0 <= i.high for n in range(20, 301, 10))
    assert missed / 200 <= 0.05
    assert fixed / 200 > 0.15


def test_a_change_is_found_and_the_interval_closes_in_on_it() -> None:
    chance = np.random.default_rng(9)
    looks = Looks(-1.0, 1.0)
    widths = []
    for _ in range(3):
        looks.add(chance.choice([-1.0, 0.0, 1.0], p=[0.05, 0.75, 0.20], size=400))
        widths.append(looks.interval.high - looks.interval.low)
    assert widths[0] > widths[1] > widths[2]
    assert looks.test().p < 0.01
    assert looks.interval.low > 0
    assert looks.interval.low <= 0.15 <= looks.interval.high


def test_the_interval_leaves_out_zero_when_the_p_value_says_so() -> None:
    looks = Looks(-1.0, 1.0)
    for value in [1.0, 0.0, 1.0] * 30:
        looks.add([value])
        if looks.interval.low > 0:
            assert looks.test().p < 0.05


def test_adding_one_by_one_is_adding_all() -> None:
    values = [0.5, -0.25, 1.0, 0.0] * 5
    one, all_ = Looks(-1.0, 1.0), Looks(-1.0, 1.0)
    for value in values:
        one.add([value])
    all_.add(values)
    assert one.interval == all_.interval
    assert one.test().p == all_.test().p


def test_nothing_seen_says_nothing() -> None:
    assert (Looks(0, 1).interval.low, Looks(0, 1).interval.high, Looks(0, 1).test(0.5).p) == (0, 1, 1.0)


def test_what_lies_outside_of_the_bounds_is_refused() -> None:
    with pytest.raises(Invalid, match="between"):
        Looks(0, 1).add([1.5])
    with pytest.raises(Invalid, match="bounds"):
        Looks(1, 1)

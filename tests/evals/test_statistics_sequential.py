from __future__ import annotations

import numpy as np
import pytest

from evals.statistics.intervals import mean_t
from evals.statistics.sequential import Looks, looks_needed, visible_change
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


@pytest.mark.parametrize(("share", "deviation"), [(0.3, 0.0), (0.0, 0.3)])
def test_the_change_that_is_promised_to_be_seen_is_seen_8_times_in_10(share: float, deviation: float) -> None:
    """Passes of which that share differs, and grades of that deviation; looked at after every one of 300 rows."""
    gap = visible_change(300, (lambda gap: share - gap**2) if share else (lambda _: deviation**2))
    assert gap is not None
    chance, seen = np.random.default_rng(10), 0
    for _ in range(100):
        looks = Looks(-1.0, 1.0)
        won = (share + gap) / 2
        if share:
            looks.add(chance.choice([1.0, -1.0, 0.0], p=[won, share - won, 1 - share], size=300))
        else:
            looks.add(np.clip(chance.normal(gap, deviation, 300), -1, 1))
        seen += looks.test().p < 0.05
    assert 0.72 <= seen / 100 <= 0.93


def test_the_looks_that_are_needed_show_the_change_and_fewer_do_not() -> None:
    needed = looks_needed(0.05, lambda _: 0.09)
    shown = [visible_change(count, lambda _: 0.09) for count in (needed, needed * 9 // 10)]
    assert shown[0] is not None
    assert shown[1] is not None
    assert shown[0] <= 0.05 < shown[1]
    assert visible_change(3, lambda _: 0.09) is None


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

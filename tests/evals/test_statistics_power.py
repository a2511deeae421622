# ruff: noqa: S311 - statistics, not secrets
from __future__ import annotations

import random

import pytest

from evals.statistics.paired import mcnemar
from evals.statistics.power import fewest_flips, rows_for_mean, rows_for_rate, visible_mean_change, visible_rate_change
from workspace.errors import Invalid


@pytest.mark.parametrize(
    ("gap", "rows"),
    [
        (0.01, (7847, 15696, 23545)),
        (0.02, (1960, 3923, 5885)),
        (0.03, (870, 1742, 2614)),
        (0.05, (312, 626, 940)),
        (0.10, (77, 155, 234)),
    ],
)
def test_rows_for_a_gap_equal_the_published_table(gap: float, rows: tuple[int, ...]) -> None:
    assert tuple(rows_for_rate(gap, disagreement) for disagreement in (0.1, 0.2, 0.3)) == rows


def test_the_smallest_visible_change_is_the_gap_those_rows_were_planned_for() -> None:
    assert visible_rate_change(870, 0.10) == pytest.approx(0.03, abs=1e-4)
    assert visible_rate_change(155, 0.20) == pytest.approx(0.10, abs=1e-3)


def test_five_rows_can_never_show_a_change_and_six_can_only_show_the_largest() -> None:
    assert fewest_flips() == 6
    assert visible_rate_change(5, 0.2) is None
    assert visible_rate_change(8, 0.0) == pytest.approx(0.8, abs=0.2)


def test_the_planned_rows_show_the_planned_gap_8_times_in_10() -> None:
    chance = random.Random(3)
    n = rows_for_rate(0.10, 0.20)
    seen = 0
    for _ in range(600):
        flips = chance.choices((-1, 1, 0), (0.05, 0.15, 0.80), k=n)
        seen += mcnemar(flips.count(-1), flips.count(1)).p < 0.05
    assert 0.74 <= seen / 600 <= 0.87


def test_rows_for_a_mean_and_the_visible_mean_change_are_inverse() -> None:
    n = rows_for_mean(0.1, 0.5)
    visible, before = visible_mean_change(n, 0.5), visible_mean_change(n - 1, 0.5)
    assert visible is not None
    assert before is not None
    assert visible <= 0.1 < before
    assert visible_mean_change(1, 0.5) is None


@pytest.mark.parametrize("gap", [0.0, -0.1, 1.2])
def test_a_gap_that_cannot_be_is_refused(gap: float) -> None:
    with pytest.raises(Invalid, match="gap"):
        rows_for_rate(gap, 0.1)

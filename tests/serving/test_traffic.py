"""The choice between deployments."""

from __future__ import annotations

from collections import Counter

import pytest

from serving.traffic import Split
from workspace.errors import Invalid, Unavailable


def test_weights_hold_within_one_percent_over_twenty_thousand_choices() -> None:
    split = Split({"blue": 70, "green": 25, "red": 5})
    seen = Counter(split.choose() for _ in range(20_000))
    assert seen["blue"] / 20_000 == pytest.approx(0.70, abs=0.01)
    assert seen["green"] / 20_000 == pytest.approx(0.25, abs=0.01)
    assert seen["red"] / 20_000 == pytest.approx(0.05, abs=0.01)


def test_every_point_of_the_line_belongs_to_one_name() -> None:
    split = Split({"blue": 90, "green": 10})
    assert [split.choose(point) for point in (0.0, 0.899, 0.9, 0.999_999)] == ["blue", "blue", "green", "green"]


def test_what_has_no_weight_is_never_chosen() -> None:
    split = Split({"blue": 0, "green": 1, "red": 0})
    assert {split.choose(point / 100) for point in range(100)} == {"green"}


def test_a_negative_weight_is_refused() -> None:
    with pytest.raises(Invalid, match="'blue'"):
        Split({"blue": -1})


def test_no_weight_at_all_leaves_nothing_to_choose() -> None:
    with pytest.raises(Unavailable):
        Split({"blue": 0}).choose()

"""The choice between deployments."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.traffic import Split, cohort_of, key_of
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


def movers(before: dict[str, float], after: dict[str, float], users: int = 4_000) -> Counter[tuple[str, str]]:
    keys = [f"mock\0user-{number}".encode() for number in range(users)]
    pairs = [(Split(before).choose_for(key), Split(after).choose_for(key)) for key in keys]
    return Counter(pair for pair in pairs if pair[0] != pair[1])


def test_the_same_user_meets_the_same_deployment_a_thousand_times() -> None:
    request, split = {"user": "u-7"}, Split({"blue": 50, "green": 50})
    keys = [key_of("mock", request, {}) for _ in range(1_000)]
    assert len({split.choose_for(key) for key in keys if key}) == 1


def test_users_fall_into_cohorts_by_the_weights() -> None:
    split = Split({"blue": 70, "green": 25, "red": 5})
    seen = Counter(split.choose_for(f"mock\0{number}".encode()) for number in range(20_000))
    assert seen["blue"] / 20_000 == pytest.approx(0.70, abs=0.01)
    assert seen["green"] / 20_000 == pytest.approx(0.25, abs=0.01)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 99), st.integers(1, 50))
def test_between_two_a_change_moves_no_more_users_than_points_and_all_one_way(share: int, more: int) -> None:
    grown = min(100, share + more)
    moved = movers({"blue": 100 - share, "green": share}, {"blue": 100 - grown, "green": grown})
    assert set(moved) <= {("blue", "green")}
    points = (grown - share) / 100
    assert sum(moved.values()) / 4_000 == pytest.approx(points, abs=4 * (points * (1 - points) / 4_000) ** 0.5 + 1e-9)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 60), st.integers(1, 60))
def test_what_grows_takes_users_and_the_others_exchange_none(blue: int, green: int, red: int, more: int) -> None:
    moved = movers({"blue": blue, "green": green, "red": red}, {"blue": blue, "green": green, "red": red + more}, 1_000)
    assert {after for _, after in moved} <= {"red"}


@pytest.mark.parametrize(
    ("request_", "headers", "key"),
    [
        ({"user": "u"}, {b"x-session-id": b"s"}, b"mock\0u"),
        ({"metadata": {"user_id": "u"}}, {}, b"mock\0u"),
        ({"user": 7, "metadata": 7}, {b"x-studiolo-session": b"s"}, b"mock\0s"),
        ({}, {b"x-session-id": b"s"}, b"mock\0s"),
        ({"user": ""}, {}, None),
    ],
)
def test_a_user_or_a_session_is_known_by_these(
    request_: dict[str, object], headers: dict[bytes, bytes], key: bytes | None
) -> None:
    assert key_of("mock", request_, headers) == key


def test_a_cohort_is_one_of_4096_and_says_nothing_of_the_user() -> None:
    found = {cohort_of(f"mock\0user-{number}".encode()) for number in range(20_000)}
    assert 4_000 < len(found) <= 4_096
    assert {len(each) for each in found} == {3}

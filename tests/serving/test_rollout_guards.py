"""The test that may be looked at after every request: it finds what is worse, and spares what is not."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.rollout_guards import simulate
from serving.rollouts.guards import MARGINS, Guards, Seen
from serving.rollouts.wager import Wager

BAD = st.floats(0, 1, allow_nan=False)


def test_sound_candidates_are_turned_away_less_often_than_alpha() -> None:
    # The same 40 rollouts each time; the benchmark simulates 500.
    assert sum(simulate(seed, {}, most=1_500)[0] is not None for seed in range(40)) <= 2


@pytest.mark.parametrize(
    ("wrong", "guard", "most"),
    [
        ({"errors": 0.2}, "errors", 250),
        ({"slower": 2.0}, "first_token", 250),
        ({"invalid": 0.3}, "invalid", 250),
        ({"quality": 0.65}, "quality", 1_300),
    ],
)
def test_what_is_worse_is_found_within_so_many_of_its_requests(wrong: dict[str, float], guard: str, most: int) -> None:
    found = [simulate(seed, wrong) for seed in range(10)]
    assert all(had <= most for _, had in found)
    assert sum(alarm == guard for alarm, _ in found) >= 8


def test_a_fifth_of_errors_costs_at_most_fifty_bad_answers() -> None:
    for seed in range(20):
        assert simulate(seed, {"errors": 0.2})[1] * 0.2 <= 50


def test_nothing_seen_of_the_candidate_or_of_the_baseline_raises_no_alarm() -> None:
    for candidate in (True, False):
        guards = Guards(MARGINS, alpha=0.05)
        for _ in range(1_000):
            guards.observe(Seen(candidate=candidate, failed=True, first_token=99.0, invalid=True, quality=0.0))
        assert guards.alarm is None


def test_requests_of_which_nothing_was_measured_change_nothing() -> None:
    guards = Guards(MARGINS, alpha=0.05)
    for number in range(1_000):
        guards.observe(Seen(candidate=number % 2 == 0))
    assert {wager.wealth for wager in guards.wagers.values()} == {1.0}


@given(st.lists(st.tuples(BAD, st.booleans()), max_size=60), st.floats(0, 0.5))
def test_a_bet_never_ruins_and_goes_on_from_what_was_kept(seen: list[tuple[float, bool]], margin: float) -> None:
    wager = Wager(margin)
    for badness, candidate in seen:
        wager.observe(badness, candidate=candidate)
    assert wager.wealth > 0
    again = Wager.from_dict(json.loads(json.dumps(wager.as_dict())))
    for each in (wager, again):
        each.observe(1.0, candidate=True)
        each.observe(0.0, candidate=False)
    assert again.wealth == pytest.approx(wager.wealth)


@given(st.integers(0, 2**32), st.floats(0, 0.3))
def test_under_the_margin_the_wealth_is_not_expected_to_grow(seed: int, margin: float) -> None:
    """One bet from any state: the mean over both outcomes of a coin that is exactly `margin` worse is no gain."""
    rng = random.Random(seed)  # noqa: S311  a simulation
    wager = Wager(margin)
    for _ in range(rng.randrange(30)):
        wager.observe(float(rng.random() < 0.5), candidate=rng.random() < 0.5)
    wager.observe(0.0, candidate=False)
    wager.observe(0.0, candidate=True)
    kept = wager.as_dict()
    means = 0.0
    for bad, probability in ((1.0, margin), (0.0, 1.0 - margin)):
        after = Wager.from_dict(kept)
        after.observe(0.0, candidate=False)
        after.observe(bad, candidate=True)
        means += probability * after.wealth
    assert means <= wager.wealth * (1 + 1e-9)


def test_guards_go_on_from_what_was_kept_with_the_limits_of_slow() -> None:
    guards = Guards(MARGINS, alpha=0.05)
    rng = random.Random(1)  # noqa: S311  a simulation
    for number in range(300):
        guards.observe(Seen(candidate=number % 3 == 0, first_token=rng.random(), speed=rng.random(), failed=False))
    again = Guards(MARGINS, alpha=0.05)
    again.recall(json.loads(json.dumps(guards.as_dict())))
    assert again.told() == guards.told()
    assert again.as_dict()["limits"]["speed"] == guards.as_dict()["limits"]["speed"]

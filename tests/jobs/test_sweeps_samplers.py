"""What samplers choose: reproducible, spread, complete, learning, and taken up again after a kill."""

from __future__ import annotations

import itertools
import statistics
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from jobs.files.search_space import Space, Uniform, Values
from jobs.files.sweep import Sampling
from jobs.sweeps.samplers import Grid, Random, Sampler, Sobol, sampler_for
from workspace.errors import Invalid

LINE: dict[str, Space] = {"x": Uniform(type="uniform", min_value=-5, max_value=5)}


def choice(*values: Any) -> Values:
    return Values(type="choice", values=values)


@given(some.integers(), some.integers(0, 1000))
def test_a_random_trial_depends_on_seed_and_number_alone(seed: int, number: int) -> None:
    assert Random(LINE, seed=seed).ask(number) == Random(LINE, seed=seed).ask(number)
    assert Random(LINE, seed=seed).ask(number) != Random(LINE, seed=seed).ask(number + 1)


def test_sobol_points_are_spread_more_evenly_than_random_ones() -> None:
    def emptiest(sampler: Random | Sobol) -> int:
        cells = [0] * 32
        for number in range(64):
            cells[min(31, int((float(str((sampler.ask(number) or {})["x"])) + 5) / 10 * 32))] += 1
        return min(cells)

    assert emptiest(Sobol(LINE, seed=1, total=64)) == 2
    assert all(emptiest(Random(LINE, seed=seed)) < 2 for seed in range(5))
    first, again = (Sobol(LINE, seed=7, total=5) for _ in range(2))
    assert [first.ask(number) for number in range(5)] == [again.ask(number) for number in range(5)]


@given(some.lists(some.integers(1, 4), min_size=1, max_size=4))
def test_a_grid_has_each_combination_once(sizes: list[int]) -> None:
    spaces: dict[str, Space] = {f"s{place}": choice(*range(size)) for place, size in enumerate(sizes)}
    grid = Grid(spaces)
    found = [grid.ask(number) for number in range(grid.total)]
    assert [tuple((each or {}).values()) for each in found] == list(itertools.product(*map(range, sizes)))
    assert grid.ask(grid.total) is None


def test_a_grid_goes_into_the_choices_of_a_choice() -> None:
    forest = {"kind": "forest", "trees": choice(10, 20), "depth": choice(1, 2)}
    grid = Grid({"model": choice("linear", forest), "scale": choice(0, 1)})
    found = [str(grid.ask(number)) for number in range(grid.total)]
    assert grid.total == len(set(found)) == 10
    assert "{'model': {'kind': 'forest', 'trees': 20, 'depth': 1}, 'scale': 1}" in found


def test_a_grid_of_what_has_no_end_is_refused() -> None:
    with pytest.raises(Invalid, match="uniform has no end"):
        sampler_for(Sampling(type="grid"), LINE, seed=0, maximize=True, total=3)


def made(seed: int) -> Sampler:
    return sampler_for(Sampling(type="bayesian"), LINE, seed=seed, maximize=True, total=40)


def climbed(seed: int, *, killed_after: int) -> list[float]:
    """Search for the top of a hill at 2 by forty trials; the process is killed now and then."""
    sampler, found = made(seed), list[float]()
    kept: list[tuple[dict[str, Any], float]] = []
    for number in range(40):
        if number and number % killed_after == 0:
            sampler = made(seed)
            for before, (drawn, score) in enumerate(kept):
                sampler.recall(before, drawn)
                sampler.tell(before, score)
        x = float(str((sampler.ask(number) or {})["x"]))
        kept.append((sampler.drawn(number), -((x - 2) ** 2)))
        sampler.tell(number, kept[-1][1])
        found.append(x)
    return found


@pytest.mark.parametrize("killed_after", [10_000, 7])
def test_bayesian_sampling_learns_also_over_a_kill(killed_after: int) -> None:
    found = climbed(1, killed_after=killed_after)
    assert len(set(found)) == 40
    assert statistics.fmean(abs(x - 2) for x in found[-15:]) < 0.6 * statistics.fmean(abs(x - 2) for x in found[:10])


def test_bayesian_sampling_goes_on_where_a_trial_failed() -> None:
    sampler = sampler_for(Sampling(type="bayesian"), LINE, seed=1, maximize=False, total=40)
    for number in range(15):
        sampler.ask(number)
        sampler.tell(number, None if number % 2 else float(number))
    assert sampler.ask(15)

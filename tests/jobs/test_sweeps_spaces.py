"""The arithmetic of search spaces, as Azure ML's documentation gives it."""

from __future__ import annotations

import math
import random
from statistics import NormalDist

import pytest
from hypothesis import given
from hypothesis import strategies as some

from jobs.files.search_space import Normal, QNormal, QUniform, RandInt, Space, Uniform, Values
from jobs.sweeps.spaces import Value, axes, base_of, stepped, values, written
from workspace.errors import Invalid

UNIT = some.floats(0, 1)
ENDS = some.tuples(some.integers(-20, 20), some.integers(0, 20)).map(lambda ends: (ends[0], ends[0] + ends[1]))


class Fixed:
    """Draws the same number whoever asks."""

    def __init__(self, unit: float) -> None:
        self._unit = unit

    def unit(self, _name: str) -> float:
        return self._unit

    def index(self, _name: str, count: int) -> int:
        return min(count - 1, int(self._unit * count))


def one(space: Space, unit: float, base: float = math.e) -> Value:
    return values({"x": space}, Fixed(unit), base=base)["x"]


def number(space: Space, unit: float, base: float = math.e) -> float:
    found = one(space, unit, base)
    assert isinstance(found, int | float)
    return found


@given(UNIT, ENDS)
def test_uniform_lies_between_its_ends_and_loguniform_is_its_exponential(unit: float, ends: tuple[int, int]) -> None:
    low, high = ends
    plain = number(Uniform(type="uniform", min_value=low, max_value=high), unit)
    assert low <= plain <= high
    log = Uniform(type="loguniform", min_value=low, max_value=high)
    assert number(log, unit) == pytest.approx(math.exp(plain))
    assert number(log, unit, base=10.0) == pytest.approx(10.0**plain)


@given(UNIT, ENDS, some.sampled_from([1, 2, 16, 0.1, 0.25]))
def test_steps_are_rounded_quotients_times_the_step(unit: float, ends: tuple[int, int], q: float) -> None:
    low, high = ends
    for kind, exponent in (("quniform", False), ("qloguniform", True)):
        space = QUniform(type=kind, min_value=low, max_value=high, q=q)  # type: ignore[arg-type]  # one of its types
        plain = number(Uniform(type="loguniform" if exponent else "uniform", min_value=low, max_value=high), unit)
        assert number(space, unit) == pytest.approx(round(plain / q) * q, rel=1e-12, abs=1e-12)
        assert isinstance(one(space, unit), int) == isinstance(q, int)


@given(UNIT, some.floats(-5, 5), some.floats(0.01, 5))
def test_normal_and_lognormal_are_of_the_bell(unit: float, mu: float, sigma: float) -> None:
    plain = number(Normal(type="normal", mu=mu, sigma=sigma), unit)
    assert math.isfinite(plain)
    if 0.001 < unit < 0.999:
        assert NormalDist(mu, sigma).cdf(plain) == pytest.approx(unit, abs=1e-9)
    assert number(Normal(type="lognormal", mu=mu, sigma=sigma), unit) == pytest.approx(math.exp(plain))
    assert number(QNormal(type="qnormal", mu=mu, sigma=sigma, q=2), unit) == round(plain / 2) * 2
    assert number(QNormal(type="qlognormal", mu=mu, sigma=sigma, q=1), unit) == round(math.exp(plain))


@given(UNIT, some.integers(1, 50))
def test_randint_is_below_its_upper_end(unit: float, upper: int) -> None:
    assert one(RandInt(type="randint", upper=upper), unit) in range(upper)


def test_a_choice_of_mappings_chooses_inside_of_them_and_is_written_as_json() -> None:
    inner = {"kind": "tree", "depth": Values(type="choice", values=(1, 2)), "rate": Uniform(
        type="uniform", min_value=0, max_value=1)}  # fmt: skip
    space = Values(type="choice", values=("linear", inner))
    assert one(space, 0.1) == "linear"
    found = one(space, 0.9)
    assert found == {"kind": "tree", "depth": 2, "rate": 0.9}
    assert written(found) == '{"kind": "tree", "depth": 2, "rate": 0.9}'
    assert axes({"m": space}) == ["m", "m.1.depth", "m.1.rate"]


def test_chance_meets_all_of_a_space() -> None:
    class Dice(Fixed):
        def __init__(self) -> None:
            self._chance = random.Random(5)  # noqa: S311

        def index(self, _name: str, count: int) -> int:
            return self._chance.randrange(count)

    dice, space = Dice(), {"x": Values(type="choice", values=("a", "b", "c"))}
    assert {values(space, dice)["x"] for _ in range(50)} == {"a", "b", "c"}


def test_decimal_steps_stay_decimal() -> None:
    assert stepped(0.31, 0.1) == 0.3
    assert stepped(33.2, 16) == 32


@pytest.mark.parametrize("wrong", ["x", -1, 0, 1, "inf"])
def test_a_base_that_is_none_is_refused(wrong: float | str) -> None:
    with pytest.raises(Invalid, match="logbase"):
        base_of(wrong)
    assert base_of(None) == base_of("e") == math.e


def test_a_log_distribution_beyond_all_numbers_says_that_its_ends_are_logarithms() -> None:
    with pytest.raises(Invalid, match="has no value"):
        one(Uniform(type="loguniform", min_value=1, max_value=100_000), 1.0)

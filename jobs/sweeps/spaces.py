"""What values a search space gives: distributions as Azure ML defines them, made of draws that a sampler supplies.

A space is asked by names of its own: `lr`, or `model.0.depth` for what stands in the first value of a choice. So that
random, sobol, grid and bayesian sampling share the arithmetic, they differ only in how they draw.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from decimal import Decimal
from statistics import NormalDist
from typing import Any, Protocol

from jobs.files.search_space import QNormal, QUniform, RandInt, Space, Uniform, Values
from workspace.errors import Invalid

Value = int | float | str | bool | dict[str, Any]
SMALLEST = 2.0**-53  # a normal distribution has no value at 0 and at 1


class Draw(Protocol):
    """Where chance, or a plan, comes in. Each name is drawn once for one set of values."""

    def unit(self, name: str) -> float:
        """Return a number from 0 to 1."""
        ...

    def index(self, name: str, count: int) -> int:
        """Return a whole number from 0, below `count`."""
        ...


def values(spaces: Mapping[str, Space], draw: Draw, *, base: float = math.e) -> dict[str, Value]:
    """Return one value of each space; `base` is that of log distributions."""
    return {name: _value(space, name, draw, base) for name, space in spaces.items()}


def written(value: Value) -> str | int | float | bool:
    """Return a value as it stands in a command: what was chosen with further values in it is written as JSON."""
    return json.dumps(value) if isinstance(value, dict) else value


def axes(spaces: Mapping[str, Space]) -> list[str]:
    """Return the names of all draws that there can be, in a fixed order."""
    return [name for key, space in spaces.items() for name in _axes(space, key)]


def base_of(logbase: float | str | None) -> float:
    """Return the base of log distributions: a number above 0 other than 1, or `e`."""
    if logbase is None or logbase == "e":
        return math.e
    try:
        base = float(logbase)
    except ValueError:
        base = math.nan
    if not base > 0 or base == 1 or math.isinf(base):
        raise Invalid(f"`logbase` cannot be {logbase!r}", hint="a number above 0, or e")
    return base


def _value(space: Space, name: str, draw: Draw, base: float) -> Value:
    if isinstance(space, Values):
        index = draw.index(name, len(space.values))
        return _chosen(space.values[index], f"{name}.{index}", draw, base)
    if isinstance(space, RandInt):
        return draw.index(name, space.upper)
    unit = draw.unit(name)
    if isinstance(space, Uniform | QUniform):
        plain = space.min_value + unit * (space.max_value - space.min_value)
    else:
        plain = NormalDist(space.mu, space.sigma).inv_cdf(min(1 - SMALLEST, max(SMALLEST, unit)))
    number = _power(base, plain) if "log" in space.type else float(plain)
    return stepped(number, space.q) if isinstance(space, QUniform | QNormal) else number


def stepped(number: float, step: float) -> float | int:
    """Return `round(number / step) * step`, as decimals have it: a whole number where the step is written as one.

    >>> stepped(0.32, 0.1), stepped(33.2, 16)
    (0.3, 32)
    """
    times = round(number / step)
    return times * step if isinstance(step, int) else float(times * Decimal(repr(step)))


def _power(base: float, exponent: float) -> float:
    try:
        return math.exp(exponent) if base == math.e else float(base**exponent)
    except OverflowError:
        raise Invalid(
            f"a log distribution has no value at {base:g}^{exponent:g}", hint="its limits are logarithms: -5, not 1e-5"
        ) from None


def _chosen(option: Any, name: str, draw: Draw, base: float) -> Value:
    if not isinstance(option, Mapping):
        return option  # type: ignore[no-any-return]  # a literal
    return {
        key: _value(inside, f"{name}.{key}", draw, base) if isinstance(inside, Space) else inside
        for key, inside in option.items()
    }


def _axes(space: Space, name: str) -> Iterator[str]:
    yield name
    for index, option in enumerate(space.values if isinstance(space, Values) else ()):
        for key, inside in option.items() if isinstance(option, Mapping) else ():
            if isinstance(inside, Space):
                yield from _axes(inside, f"{name}.{index}.{key}")

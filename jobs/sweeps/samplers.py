"""How the values of trials are chosen. A sampler says what trial N gets, and is told how trials ended.

What random, sobol and grid sampling say of trial N depends on the seed and on N alone, so that a sweep whose process
was killed goes on with the values that it would have had.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from typing import Any, Protocol

from jobs.files.search_space import Space, Values
from jobs.files.sweep import Sampling
from jobs.sweeps.spaces import Value, axes, base_of, values
from workspace.errors import Invalid, MissingExtra


class Sampler(Protocol):
    """One way of choosing; one file or class each."""

    learns: bool  # whether what is chosen depends on how trials ended

    def ask(self, number: int) -> dict[str, Value] | None:
        """Return the values of a trial, numbered from 0; None where there are no more."""
        ...

    def tell(self, number: int, score: float | None) -> None:
        """Hear how good a trial was, the more the better; None: it failed."""
        ...

    def recall(self, number: int, drawn: Mapping[str, Any]) -> None:
        """Hear what an earlier process drew for a trial, before being told its score."""
        ...

    def drawn(self, number: int) -> dict[str, Any]:
        """Return what must be kept of a trial so that `recall` can have it."""
        ...


def sampler_for(sampling: Sampling, spaces: Mapping[str, Space], *, seed: int, maximize: bool, total: int) -> Sampler:
    """Return the sampler that a sweep asks for. `seed` is used where the sampling has none of its own."""
    seed = sampling.seed if sampling.seed is not None else seed
    if sampling.type == "grid":
        return Grid(spaces)
    if sampling.type == "bayesian":
        from jobs.sweeps.bayesian import Bayesian

        return Bayesian(spaces, seed=seed, maximize=maximize)
    base = base_of(sampling.logbase)
    if sampling.rule == "sobol":
        return Sobol(spaces, seed=seed, base=base, total=total)
    return Random(spaces, seed=seed, base=base)


class _Deaf:
    """What samplers do that learn nothing."""

    learns = False

    def tell(self, number: int, score: float | None) -> None:
        """Learn nothing."""

    def recall(self, number: int, drawn: Mapping[str, Any]) -> None:
        """Need nothing."""

    def drawn(self, number: int) -> dict[str, Any]:  # noqa: ARG002
        """Keep nothing."""
        return {}


class Random(_Deaf):
    """Any values, as the distributions have them."""

    def __init__(self, spaces: Mapping[str, Space], *, seed: int, base: float = math.e) -> None:
        self._spaces = spaces
        self._seed = seed
        self._base = base

    def ask(self, number: int) -> dict[str, Value]:
        """Return values that depend on the seed and the number alone."""
        return values(self._spaces, _Dice(random.Random(f"{self._seed}/{number}")), base=self._base)  # noqa: S311


class _Dice:
    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def unit(self, _name: str) -> float:
        return self._chance.random()

    def index(self, _name: str, count: int) -> int:
        return self._chance.randrange(count)


class Sobol(_Deaf):
    """Values spread evenly over the whole space: scrambled points of a Sobol sequence."""

    def __init__(self, spaces: Mapping[str, Space], *, seed: int, total: int, base: float = math.e) -> None:
        try:
            from scipy.stats.qmc import Sobol as Sequence
        except ImportError:
            raise MissingExtra("sobol sampling needs scipy", hint="pip install 'studiolo[automl]'") from None
        self._spaces = spaces
        self._base = base
        self._places = {name: place for place, name in enumerate(axes(spaces))}
        sequence = Sequence(len(self._places), scramble=True, rng=seed)
        # A whole power of two: fewer points would not be spread evenly, and scipy says so.
        self._points = sequence.random_base2(max(0, math.ceil(math.log2(max(1, total)))))

    def ask(self, number: int) -> dict[str, Value] | None:
        """Return the values at a point of the sequence."""
        if number >= len(self._points):
            return None
        return values(self._spaces, _Point(self._points[number], self._places), base=self._base)


class _Point:
    def __init__(self, coordinates: Any, places: Mapping[str, int]) -> None:
        self._coordinates = coordinates
        self._places = places

    def unit(self, name: str) -> float:
        return float(self._coordinates[self._places[name]])

    def index(self, name: str, count: int) -> int:
        return min(count - 1, int(self.unit(name) * count))


class Grid(_Deaf):
    """All values, each once; the last of the spaces changes fastest."""

    def __init__(self, spaces: Mapping[str, Space]) -> None:
        self._spaces = spaces
        self.total = math.prod(_count(space) for space in spaces.values())

    def ask(self, number: int) -> dict[str, Value] | None:
        """Return the values of a place in the grid."""
        if number >= self.total:
            return None
        indices: dict[str, int] = {}
        for name, space in reversed(list(self._spaces.items())):
            number, place = divmod(number, _count(space))
            _indices(space, name, place, indices)
        return values(self._spaces, _Planned(indices))


class _Planned:
    def __init__(self, indices: Mapping[str, int]) -> None:
        self._indices = indices

    def unit(self, name: str) -> float:
        raise Invalid(f"grid sampling tries all values, and {name!r} has no end of them", hint="give a choice")

    def index(self, name: str, _count: int) -> int:
        return self._indices[name]


def _count(space: Space) -> int:
    """Return how many values a space has."""
    if not isinstance(space, Values):
        raise Invalid(f"grid sampling tries all values, and {space.type} has no end of them", hint="give a choice")
    return sum(_inside(option) for option in space.values)


def _inside(option: Any) -> int:
    """Return how many values an option stands for: one, or the grid of the spaces in it."""
    inner = option.values() if isinstance(option, Mapping) else ()
    return math.prod(_count(space) for space in inner if isinstance(space, Space))


def _indices(space: Space, name: str, place: int, found: dict[str, int]) -> None:
    """Note which option of each choice a place stands for."""
    options = list(space.values) if isinstance(space, Values) else []
    index = 0
    while place >= (size := _inside(options[index])):
        place, index = place - size, index + 1
    found[name] = index
    option = options[index]
    inner = option.items() if isinstance(option, Mapping) else ()
    for key, inside in reversed([(key, each) for key, each in inner if isinstance(each, Space)]):
        place, rest = divmod(place, _count(inside))
        _indices(inside, f"{name}.{index}.{key}", rest, found)

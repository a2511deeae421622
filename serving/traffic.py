"""Which deployment of an endpoint answers a request: a choice by weight."""

from __future__ import annotations

import math
import random
from bisect import bisect
from collections.abc import Mapping
from itertools import accumulate

from workspace.errors import Invalid, Unavailable


class Split:
    """Names and their weights; percentages usually, but only the proportions count.

    >>> Split({"blue": 90, "green": 10}).choose(0.95)
    'green'
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        for name, weight in weights.items():
            if not math.isfinite(weight) or weight < 0:
                raise Invalid(f"the traffic of {name!r} must be 0 or more, not {weight}", hint="as in blue=90 green=10")
        self._names = [name for name, weight in weights.items() if weight > 0]
        self._ends = list(accumulate(weights[name] for name in self._names))

    def choose(self, point: float | None = None) -> str:
        """Return a name; `point`, from 0 up to 1, says where on the line of weights, by default anywhere."""
        if not self._names:
            raise Unavailable("no deployment gets traffic", hint="set it: --traffic blue=100")
        where = (random.random() if point is None else point) * self._ends[-1]  # noqa: S311  balance, no secret
        return self._names[min(bisect(self._ends, where), len(self._names) - 1)]

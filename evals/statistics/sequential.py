"""Looking while it runs: intervals and p-values that stay right however often somebody looks, and whenever they stop.

An observation is a number between two bounds, as the change of a row between -1 and 1. Every mean that it may come
from is bet against, from both sides; a mean is left out once the bet against it has won 1/alpha times the stake. By
Ville's inequality the true mean is ever left out with a probability of at most alpha.

Source: Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", JRSS B 86 (2024), the
hedged capital with predictable stakes. `serving/rollouts/wager.py` bets against one margin, for two streams that are
not paired and a state of a few numbers; it shares Ville's inequality with this, and no line of code.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from evals.statistics.bootstrap import Floats
from evals.statistics.distributions import normal_quantile
from evals.statistics.intervals import CONFIDENCE, Interval
from evals.statistics.paired import Test
from evals.statistics.power import POWER
from workspace.errors import Invalid

MOST_PLANNED = 1 << 22  # observations

Spread = Callable[[float], float]
"""The variance of a change between -1 and 1, where its mean is this."""

STEPS = 1_000
STAKE = 0.5  # of what cannot ruin


@dataclass(slots=True)
class Looks:
    """A mean that may be looked at after every observation.

    >>> looks = Looks(-1.0, 1.0)
    >>> looks.add([0.5, 1.0, 0.5, 0.0] * 50)
    >>> looks.interval.low > 0
    True
    """

    low: float
    high: float
    confidence: float = CONFIDENCE
    count: int = 0
    total: float = 0.0
    _squares: float = 0.25
    _means: Floats = field(init=False)
    _up: Floats = field(init=False)
    _down: Floats = field(init=False)
    _best: Floats = field(init=False)

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise Invalid(f"bounds must rise, not go from {self.low} to {self.high}")
        self._means = np.linspace(0.0, 1.0, STEPS + 1)
        self._up, self._down, self._best = (np.zeros(STEPS + 1) for _ in range(3))

    def add(self, values: Iterable[float]) -> None:
        """Take observations, in the order in which they were made."""
        alpha, means = 1 - self.confidence, self._means
        with np.errstate(divide="ignore"):
            most_up, most_down = STAKE / means, STAKE / (1 - means)
        for value in values:
            if not self.low <= value <= self.high:
                raise Invalid(f"an observation must lie between {self.low} and {self.high}, not at {value}")
            seen = (value - self.low) / (self.high - self.low)
            # The stake is chosen by the spread of what was seen before, as if one observation had been in the middle.
            spread = self._squares / (self.count + 1)
            stake = math.sqrt(2 * math.log(2 / alpha) / (spread * (self.count + 1) * math.log(self.count + 2)))
            self._up += np.log1p(np.minimum(stake, most_up) * (seen - means))
            self._down += np.log1p(-np.minimum(stake, most_down) * (seen - means))
            np.maximum(self._best, np.maximum(self._up, self._down) - math.log(2), out=self._best)
            self.count += 1
            self.total += seen
            self._squares += (seen - (0.5 + self.total) / (self.count + 1)) ** 2

    @property
    def interval(self) -> Interval:
        """What the mean may be; it holds at every look together."""
        method = f"always-valid, after {self.count:,}"
        if not self.count:
            return Interval((self.low + self.high) / 2, self.low, self.high, method)
        left = np.flatnonzero(self._best < -math.log(1 - self.confidence))
        mean = self.low + (self.high - self.low) * self.total / self.count
        if not len(left):  # a rare miss: the bets have left nothing
            return Interval(mean, mean, mean, method)
        # One step farther out: a mean between two of the steps was not bet against itself.
        first, last = max(0, int(left[0]) - 1), min(STEPS, int(left[-1]) + 1)
        width = (self.high - self.low) / STEPS
        return Interval(mean, self.low + first * width, self.low + last * width, method)

    def test(self, mean: float = 0.0) -> Test:
        """Test whether the mean is another one than this; the p-value may be looked at after every observation."""
        place = (mean - self.low) / (self.high - self.low) * STEPS
        best = min(float(self._best[math.floor(place)]), float(self._best[math.ceil(place)]))
        return Test(min(1.0, math.exp(-best)), f"always-valid bets, after {self.count:,}")


def visible_change(count: int, spread: Spread, *, confidence: float = CONFIDENCE, power: float = POWER) -> float | None:
    """Return the smallest mean change that so many looks show at that power, or None where they show none.

    What the bets have won after `count` observations is about normal: its mean and variance are those of its terms. An
    alarm may come earlier too, so that the power is rather more than what is asked for.
    """
    if not _shows(1.0, count, spread, confidence, power):
        return None
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if _shows(middle, count, spread, confidence, power) else (middle, high)
    return high


def looks_needed(gap: float, spread: Spread, *, confidence: float = CONFIDENCE, power: float = POWER) -> int:
    """Return how many observations show a mean change `gap`; at most four millions, as many as that may be."""
    low, high = 0, 64
    while high < MOST_PLANNED and not _shows(gap, high, spread, confidence, power):
        low, high = high, high * 2
    while high - low > max(1, high >> 10):
        middle = (low + high) // 2
        low, high = (low, middle) if _shows(gap, middle, spread, confidence, power) else (middle, high)
    return high


def _shows(gap: float, count: int, spread: Spread, confidence: float, power: float) -> bool:
    alpha = 1 - confidence
    # Here an observation lies between 0 and 1, as in the bets: all is half as large.
    variance, drift = max(spread(gap), 0.0) / 4, gap / 2
    seen = np.arange(count, dtype=np.float64)
    known = (0.25 + seen * variance) / (seen + 1)
    stakes = np.minimum(np.sqrt(2 * math.log(2 / alpha) / (known * (seen + 1) * np.log(seen + 2))), STAKE / 0.5)
    squares = float((stakes**2).sum())
    won = drift * float(stakes.sum()) - (variance + drift**2) * squares / 2
    return won - normal_quantile(power) * math.sqrt(variance * squares) >= math.log(2 / alpha)

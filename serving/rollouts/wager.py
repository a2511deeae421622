"""A test that may be looked at after every request: a bet that the candidate is worse than the baseline by a margin.

Each observation is a badness from 0 to 1. As soon as both sides have some, the difference of their means is bet on and
both begin anew. While the candidate is worse by the margin at most, no bet has a gain to be expected: the wealth is a
non-negative supermartingale that begins at 1, and by Ville's inequality it ever reaches 1/alpha with a probability of
at most alpha, however often somebody looks and whenever they stop. Where it is worse by more, the wealth grows without
end. The bets are a mixture over fixed fractions, so nothing has to be guessed beforehand.

Source: Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", JRSS B 86 (2024).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

FRACTIONS = (0.02, 0.04, 0.07, 0.1, 0.15, 0.2, 0.3, 0.4, 0.55, 0.75)  # of the highest stake that cannot ruin


@dataclass(slots=True)
class Side:
    """What is known of one side: of all its observations, and of those that were not bet on yet."""

    count: int = 0
    total: float = 0.0
    new: int = 0
    new_total: float = 0.0

    def add(self, badness: float) -> None:
        """Take an observation."""
        self.count += 1
        self.total += badness
        self.new += 1
        self.new_total += badness

    def take(self) -> float:
        """Return the mean of the new ones, which are no longer new."""
        mean = self.new_total / self.new
        self.new, self.new_total = 0, 0.0
        return mean

    @property
    def mean(self) -> float | None:
        """The mean of all, None where there are none."""
        return self.total / self.count if self.count else None


@dataclass(slots=True)
class Wager:
    """One bet: `candidate` and `baseline` observe, `wealth` says how much speaks against the candidate.

    >>> wager = Wager(margin=0.02)
    >>> for _ in range(60):
    ...     wager.observe(0.0, candidate=False)
    ...     wager.observe(1.0, candidate=True)
    >>> wager.wealth > 1e6
    True
    """

    margin: float
    candidate: Side = field(default_factory=Side)
    baseline: Side = field(default_factory=Side)
    logs: list[float] = field(default_factory=lambda: [0.0] * len(FRACTIONS))  # of the wealth of each fraction

    def observe(self, badness: float, *, candidate: bool) -> None:
        """Take an observation from 0 (good) to 1 (bad), and bet as soon as both sides have one."""
        if not 0.0 <= badness <= 1.0:
            raise ValueError(f"a badness lies between 0 and 1, not at {badness}")
        (self.candidate if candidate else self.baseline).add(badness)
        if self.candidate.new and self.baseline.new:
            self._bet(self.candidate.take() - self.baseline.take() - self.margin)

    @property
    def wealth(self) -> float:
        """What one unit has become: the evidence that the candidate is worse by more than the margin."""
        highest = max(self.logs)
        return math.exp(min(700.0, highest)) * sum(math.exp(log - highest) for log in self.logs) / len(self.logs)

    def proves(self, alpha: float) -> bool:
        """Whether the evidence is enough for a false alarm in at most `alpha` of all rollouts."""
        return self.wealth >= 1.0 / alpha

    def progress(self, alpha: float) -> float:
        """Return how far the evidence has come, from 0 to 1 where it is enough; it grows evenly with what is seen."""
        return max(0.0, min(1.0, math.log(self.wealth) / math.log(1.0 / alpha)))

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON takes it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Wager:
        """Return what `as_dict` gave."""
        sides = {name: Side(**found[name]) for name in ("candidate", "baseline")}
        return cls(margin=found["margin"], logs=list(found["logs"]), **sides)

    def _bet(self, gain: float) -> None:
        stake = 1.0 / (1.0 + self.margin)  # the gain is at least -(1 + margin)
        self.logs = [log + math.log1p(part * stake * gain) for log, part in zip(self.logs, FRACTIONS, strict=True)]

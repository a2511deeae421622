"""Do two ways of running the same weights give the same scores? Two engines, two precisions, batches of 1 and of N.

A test that finds no difference does not show that there is none: few rows find none either. The question is turned
round (two one-sided tests, Schuirmann 1987): scores are comparable where the whole interval of their difference lies
within the margin.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from evals.compare import Comparison, Pair, compare
from evals.samples import Sample

MARGIN = 0.02

Verdict = Literal["comparable", "not comparable", "undecided"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Equivalence:
    """How far two runs of the same weights agree. `same` counts the rows whose answers are letter by letter alike."""

    comparison: Comparison
    same: int

    @property
    def verdict(self) -> Verdict:
        """ "comparable" where no difference beyond the margin can be, "not comparable" where none within it can."""
        change, margin = self.comparison.measured.change, self.comparison.margin
        if -margin < change.low and change.high < margin:
            return "comparable"
        return "not comparable" if change.low > margin or change.high < -margin else "undecided"

    @property
    def flips(self) -> tuple[Pair, ...]:
        """The rows that scored otherwise, the greatest changes first."""
        changed = (*self.comparison.losses, *self.comparison.gains)
        return tuple(sorted(changed, key=lambda pair: -abs(pair.change)))

    @property
    def sentence(self) -> str:
        """Say it in a line."""
        change, pairs = self.comparison.measured.change, self.comparison.pairs
        told = (
            f"{self.verdict}: {self.comparison.metric} differs by {change.estimate:+.3f} "
            f"(95 % interval {change.low:+.3f} to {change.high:+.3f}, margin {self.comparison.margin:g})"
        )
        told += f"; {len(self.flips)} of {len(pairs)} rows scored otherwise, {self.same} answers are alike"
        if self.verdict == "undecided":
            told += f"; about {self.comparison.measured.rows_needed} rows would tell"
        return told


def equivalence(
    one: Sequence[Sample], other: Sequence[Sample], metric: str | None = None, *, margin: float = MARGIN
) -> Equivalence:
    """Compare two runs of the same weights over the same rows. Raises Invalid as `compare` does."""
    found = compare(one, other, metric, margin=margin)
    return Equivalence(comparison=found, same=sum(pair.before.answer == pair.after.answer for pair in found.pairs))

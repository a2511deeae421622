"""The noise floor: how much the same thing differs from itself when it is measured again."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from workspace.errors import Invalid


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """What repeats of the same rows say. `within` is the variance of one row's scores, `between` that of the rows.

    `flip_rate` is the chance that two repeats of a row disagree; `floor` the change of the mean that two runs of the
    same thing stay below 95 times in 100, when each asks every row once.
    """

    rows: int
    repeats: float
    within: float
    between: float
    flip_rate: float
    floor: float

    @property
    def alike(self) -> float:
        """The intraclass correlation: which share of the variance is the rows' own."""
        total = self.within + self.between
        return self.between / total if total else 1.0


def noise(repeats: Sequence[Sequence[float]]) -> Noise:
    """Return the noise of scores: the repeats of each row, at least two of them. Rows with fewer are left out.

    The variances are those of a one-way analysis of variance with random rows.
    """
    kept = [np.asarray(row, dtype=np.float64) for row in repeats if len(row) > 1]
    if len(kept) < 2:
        raise Invalid("noise needs at least two rows that were asked twice", hint="run with --epochs 2 or more")
    sizes = np.array([len(row) for row in kept], dtype=np.float64)
    means = np.array([row.mean() for row in kept])
    count, total = len(kept), float(sizes.sum())
    within = sum(float(((row - row.mean()) ** 2).sum()) for row in kept) / (total - count)
    grand = float((sizes * means).sum()) / total
    among = float((sizes * (means - grand) ** 2).sum()) / (count - 1)
    usual = (total - float((sizes**2).sum()) / total) / (count - 1)
    return Noise(
        rows=count,
        repeats=total / count,
        within=within,
        between=max(0.0, (among - within) / usual),
        flip_rate=sum(_flips(row.tolist()) for row in kept) / count,
        floor=1.96 * math.sqrt(2 * within / count),
    )


def _flips(scores: Sequence[float]) -> float:
    """Return the share of pairs of repeats that disagree."""
    n = len(scores)
    alike = sum(count * (count - 1) for count in Counter(scores).values())
    return 1 - alike / (n * (n - 1))

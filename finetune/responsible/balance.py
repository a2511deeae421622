"""Whether the data is balanced: how often each class comes in each group, and how far groups differ in that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pandas import Series


@dataclass(frozen=True, slots=True)
class Balance:
    """The rows of a group by class, and how far its classes are distributed otherwise than those of all other rows.

    `kl` is the Kullback-Leibler divergence in bits, `tv` the total variation distance: the share that would have to
    be of another class.
    """

    group: str
    rows: int
    share: float
    classes: Mapping[str, int]
    kl: float
    tv: float


def measure(target: Series, groups: Series) -> tuple[Balance, ...]:
    """Return the balance of each group; numbers as a target are counted in five bands."""
    import pandas

    from finetune.responsible.groups import banded

    classes = banded(target) if target.nunique() > 10 else target.astype(str)
    counts = pandas.crosstab(groups, classes)
    found = []
    for name, row in counts.iterrows():
        others = counts.drop(index=name).sum()
        kl, tv = _apart([*row], [*others])
        found.append(Balance(str(name), int(row.sum()), float(row.sum() / len(target)),
                             {str(key): int(value) for key, value in row.items()}, kl, tv))  # fmt: skip
    return tuple(found)


def _apart(counts: list[int], others: list[int]) -> tuple[float, float]:
    """Compare two distributions; half a row is added everywhere, so that what never came is not impossible."""
    import numpy
    from scipy.stats import entropy

    if not sum(others):
        return 0.0, 0.0
    p, q = numpy.array(counts) + 0.5, numpy.array(others) + 0.5
    p, q = p / p.sum(), q / q.sum()
    return float(entropy(p, q, base=2)), float(numpy.abs(p - q).sum() / 2)

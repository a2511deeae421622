"""Many questions at once: p-values raised so that asking more does not find more by chance."""

from __future__ import annotations

from collections.abc import Sequence


def holm(ps: Sequence[float]) -> tuple[float, ...]:
    """Return p-values that keep the chance of any false alarm at its level: for gates.

    >>> holm([0.01, 0.04, 0.03])
    (0.03, 0.06, 0.06)
    """
    order = sorted(range(len(ps)), key=lambda place: ps[place])
    raised = [0.0] * len(ps)
    highest = 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(ps) - rank) * ps[place]))
        raised[place] = highest
    return tuple(raised)


def benjamini_hochberg(ps: Sequence[float]) -> tuple[float, ...]:
    """Return p-values that keep the share of false ones among the alarms at its level: for exploring.

    >>> benjamini_hochberg([0.01, 0.04, 0.03])
    (0.03, 0.04, 0.04)
    """
    order = sorted(range(len(ps)), key=lambda place: -ps[place])
    raised = [0.0] * len(ps)
    lowest = 1.0
    for rank, place in enumerate(order):
        lowest = min(lowest, ps[place] * len(ps) / (len(ps) - rank))
        raised[place] = lowest
    return tuple(raised)

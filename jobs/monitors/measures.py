"""What is measured: a value, the threshold it must not pass, and what a whole signal has come to."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

MEASURED, SKIPPED, FAILED = "measured", "skipped", "failed"
# Of these more is better: they are breached below their threshold. All others are breached above it.
RISING = frozenset(
    {
        "two_sample_kolmogorov_smirnov_test", "pearsons_chi_squared_test", "normalized_discounted_cumulative_gain",
        "accuracy", "precision", "recall", "aggregated_groundedness_pass_rate", "aggregated_relevance_pass_rate",
        "aggregated_coherence_pass_rate", "aggregated_fluency_pass_rate", "aggregated_similarity_pass_rate",
    }
)  # fmt: skip


class Skip(Exception):
    """A signal, or a part of it, cannot be measured now, and nothing is wrong: there is no data, or nobody to judge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One value: of a feature, a group, or of all."""

    metric: str
    value: float | None
    threshold: float | None = None
    feature: str = ""
    kind: str = ""  # numerical or categorical

    @property
    def is_breached(self) -> bool:
        """Whether the value has passed its threshold."""
        if self.value is None or self.threshold is None or math.isnan(self.value):
            return False
        return self.value < self.threshold if self.metric in RISING else self.value > self.threshold

    def plain(self) -> dict[str, Any]:
        """Return it as reports keep it."""
        value = self.value if self.value is None or math.isfinite(self.value) else str(self.value)
        return {
            "feature": self.feature, "data_type": self.kind, "metric": self.metric, "value": value,
            "threshold": self.threshold, "breached": self.is_breached,
        }  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How the values of a feature are distributed, before and now: shares of the same bins."""

    labels: Sequence[str]
    reference: Sequence[float]
    production: Sequence[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a way of measuring has found."""

    measures: Sequence[Measure]
    shapes: Mapping[str, Shape] = field(default_factory=dict)
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One signal of one run. `sides` says which data it is of: rows, times, assets."""

    signal: str
    type: str
    status: str = MEASURED
    why: str = ""
    alerts: bool = False
    found: Found = field(default_factory=lambda: Found(measures=()))
    sides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def breached(self) -> list[Measure]:
        """The values that have passed their thresholds."""
        return [each for each in self.found.measures if each.is_breached]

    def plain(self) -> dict[str, Any]:
        """Return it as the JSON of a run keeps it."""
        return {
            "signal": self.signal, "type": self.type, "status": self.status, "why": self.why or None,
            "alert_enabled": self.alerts, "breached": len(self.breached), "notes": list(self.found.notes),
            "data": {name: dict(side) for name, side in self.sides.items()},
            "metrics": [each.plain() for each in self.found.measures],
        }  # fmt: skip


def words(result: Result) -> str:
    """Return a signal in one line, as the log of a run has it."""
    if result.status != MEASURED:
        return f"{result.signal}: {result.status}: {result.why}"
    found = result.breached
    told = f"{result.signal}: {len(result.found.measures)} measured, {len(found)} past their threshold"
    return f"{told}: {_told(found)}" if found else told


def _told(found: Iterable[Measure], most: int = 5) -> str:
    each = list(found)
    shown = [
        f"{one.feature + ' ' if one.feature else ''}{one.metric} {one.value:.4g} ({one.threshold:g})" for one in each
    ]
    return ", ".join(shown[:most]) + (f" and {len(each) - most} more" if len(each) > most else "")

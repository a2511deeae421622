"""From scores to metrics: repeats of a row become one number, rows a mean with its interval, by slice too."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from evals.samples import Sample, as_text
from evals.statistics.clusters import Clustered, clustered, design_effect, interval, rate
from evals.statistics.intervals import Interval, bca, standard_error, wilson
from evals.statistics.power import visible_mean_change, visible_rate_change
from workspace.errors import Invalid

PASSED = 0.5  # a repeat from here on has passed, for pass@k and pass^k
DISAGREEMENT = 0.10  # of rows, that two runs are taken to disagree on before there is a second one


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One number of a run: of a scorer, by a reducer where rows were repeated, of a slice or of all rows.

    `visible` is the smallest change that a second run over these rows would show, None where none would be.
    """

    name: str
    scorer: str
    reducer: str
    slice: str
    interval: Interval
    rows: int
    errors: int
    visible: float | None


def metrics(
    samples: Sequence[Sample], *, reducers: Sequence[str] = ("mean",), slices: Sequence[str] = ()
) -> tuple[Metric, ...]:
    """Return the metrics of all scorers. Rows without a score are counted as errors, and in nothing else.

    The row is the unit: its repeats are reduced first. Rows of one cluster are not counted as independent.
    """
    found: list[Metric] = []
    parts = {"": samples, **_slices(samples, slices)}
    for scorer in dict.fromkeys(name for sample in samples for name in sample.scores):
        for reducer in reducers:
            for part, of_part in parts.items():
                if (metric := _metric(of_part, scorer, reducer, part)) is not None:
                    found.append(metric)
    return tuple(found)


def reduce(reducer: str, values: Sequence[float]) -> float:
    """Return one number for the repeats of a row: `reduce("pass@1", [1, 0, 0, 1]) == 0.5`.

    pass@k is the chance that one of k repeats passes, pass^k that all do, both without bias from more repeats than k
    (Chen et al. 2021). Of modes the lowest counts.
    """
    simple: Mapping[str, Callable[[Sequence[float]], float]] = {"mean": fmean, "max": max, "mode": _mode}
    if reducer in simple:
        return float(simple[reducer](values))
    word, mark, given = reducer.partition("@") if "@" in reducer else reducer.partition("^")
    if word != "pass" or not given.isdigit():
        raise Invalid(f"no reducer {reducer!r}", hint="mean, mode, max, pass@k or pass^k")
    n, k = len(values), int(given)
    passed = sum(value >= PASSED for value in values)
    if n < k:
        raise Invalid(f"{reducer} needs {k} repeats, there are {n}")
    if mark == "@":
        return 1.0 - math.comb(n - passed, k) / math.comb(n, k)
    return math.comb(passed, k) / math.comb(n, k)


def _metric(samples: Sequence[Sample], scorer: str, reducer: str, part: str) -> Metric | None:
    by_row: dict[int, list[float]] = {}
    clusters: dict[int, str | None] = {}
    errors = 0
    for sample in samples:
        score = sample.scores.get(scorer)
        if score is None or score.value is None or sample.error is not None:
            errors += 1
            continue
        by_row.setdefault(sample.number, []).append(score.value)
        clusters[sample.number] = sample.cluster
    needed = int(reducer[5:]) if reducer[:4] == "pass" else 1
    enough = {number: values for number, values in by_row.items() if len(values) >= needed}
    if not enough:
        return None
    values = [reduce(reducer, repeats) for repeats in enough.values()]
    grouped = [clusters[number] for number in enough]
    label = scorer if reducer == "mean" else f"{scorer} {reducer}"
    return Metric(
        name=f"{label} [{part}]" if part else label, scorer=scorer, reducer=reducer, slice=part,
        interval=_interval(values, grouped), rows=len(values), errors=errors, visible=_visible(values, grouped),
    )  # fmt: skip


def _interval(values: Sequence[float], clusters: Sequence[str | None]) -> Interval:
    binary = set(values) <= {0.0, 1.0}
    if any(cluster is not None for cluster in clusters):
        grouped = _grouped(values, clusters)
        return rate(grouped) if binary else interval(grouped)
    return wilson(round(sum(values)), len(values)) if binary else bca(values)


def _visible(values: Sequence[float], clusters: Sequence[str | None]) -> float | None:
    binary = set(values) <= {0.0, 1.0}
    worth = len(values)
    if any(cluster is not None for cluster in clusters):  # rows of one cluster tell less than so many others
        worth = int(_worth(_grouped(values, clusters), values, binary=binary))
    if binary:
        return visible_rate_change(worth, DISAGREEMENT)
    return visible_mean_change(worth, stdev(values)) if len(values) > 1 else None


def _worth(grouped: Clustered, values: Sequence[float], *, binary: bool) -> float:
    """Return how many rows without clusters tell as much."""
    if binary:
        return len(values) / design_effect(grouped)
    if grouped.count < 2 or grouped.error == 0:
        return float(grouped.count)
    return max(float(grouped.count), len(values) * min(1.0, (standard_error(values) / grouped.error) ** 2))


def _grouped(values: Sequence[float], clusters: Sequence[str | None]) -> Clustered:
    """Sum by cluster; a row without one is a cluster of its own."""
    return clustered(values, [place if cluster is None else cluster for place, cluster in enumerate(clusters)])


def _slices(samples: Iterable[Sample], names: Sequence[str]) -> dict[str, list[Sample]]:
    found: dict[str, list[Sample]] = {}
    for name in names:
        parts: dict[str, list[Sample]] = {}
        for sample in samples:
            value: Any = sample.metadata.get(name, sample.inputs.get(name))
            if value is not None:
                parts.setdefault(f"{name}={as_text(value)}", []).append(sample)
        found |= parts
    return found


def _mode(values: Sequence[float]) -> float:
    counts = Counter(values)
    most = max(counts.values())
    return min(value for value, count in counts.items() if count == most)

"""Data and predictions that are no longer as they were: one distance for each feature."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jobs.files.monitor import CategoricalDrift, DriftThresholds, NumericalDrift
from jobs.monitors import distances
from jobs.monitors.features import CATEGORICAL, NUMERICAL, Feature, counts, numbers
from jobs.monitors.frames import Frame
from jobs.monitors.measures import Found, Measure, Shape, Skip

if TYPE_CHECKING:
    import duckdb

DEFAULTS = DriftThresholds(
    numerical=NumericalDrift(normalized_wasserstein_distance=0.1),
    categorical=CategoricalDrift(jensen_shannon_distance=0.1),
)
_SHOWN = 12  # words that a picture has room for


def drift(
    database: duckdb.DuckDBPyConnection, reference: Frame, production: Frame,
    features: Sequence[Feature], thresholds: DriftThresholds | None,
) -> Found:  # fmt: skip
    """Measure how far each feature has moved from the reference, by every metric that has a threshold."""
    distances.needed()
    wanted = _wanted(thresholds)
    measures: list[Measure] = []
    shapes: dict[str, Shape] = {}
    notes = []
    for feature in features:
        numerical = feature.kind == NUMERICAL
        said = _said(wanted.numerical if numerical else wanted.categorical)
        if not said:
            continue
        measure = _numerical if numerical else _categorical
        try:
            found, shapes[feature.name] = measure(database, reference, production, feature.name, said)
        except Skip as why:
            notes.append(f"{feature.name}: {why}")
            continue
        measures += [
            Measure(metric=metric, value=value, threshold=said[metric], feature=feature.name, kind=feature.kind)
            for metric, value in found.items()
        ]
    return Found(measures=measures, shapes=shapes, notes=notes)


def _numerical(
    database: duckdb.DuckDBPyConnection, reference: Frame, production: Frame, name: str, said: Mapping[str, float]
) -> tuple[dict[str, float], Shape]:
    import numpy

    before, after = (numbers(database, frame, name) for frame in (reference, production))
    if not len(before) or not len(after):
        raise Skip("it has no numbers in one of the two")
    bins = distances.edges(before, after)
    counted = [numpy.histogram(each, bins)[0].astype(float) for each in (before, after)]
    given = {"values": (before, after), "counts": tuple(counted)}
    found = {metric: way(*given[of]) for metric, (of, way) in distances.NUMERICAL.items() if metric in said}
    labels = [f"{low:.4g} to {high:.4g}" for low, high in itertools.pairwise(bins)]
    return found, _shape(labels, *counted)


def _categorical(
    database: duckdb.DuckDBPyConnection, reference: Frame, production: Frame, name: str, said: Mapping[str, float]
) -> tuple[dict[str, float], Shape]:
    labels, before, after = counts(database, reference, production, name)
    if not before.sum() or not after.sum():
        raise Skip("it has no values in one of the two")
    found = {metric: way(before, after) for metric, way in distances.CATEGORICAL.items() if metric in said}
    return found, _shape(labels, before, after)


def _shape(labels: Sequence[str], before: Any, after: Any) -> Shape:
    shares = [[float(each) for each in side / side.sum()] for side in (before, after)]
    if len(labels) > max(_SHOWN, 32):
        labels = [*labels[: _SHOWN - 1], f"{len(labels) - _SHOWN + 1} others"]
        shares = [[*side[: _SHOWN - 1], sum(side[_SHOWN - 1 :])] for side in shares]
    return Shape(labels=labels, reference=shares[0], production=shares[1])


def _wanted(thresholds: DriftThresholds | None) -> DriftThresholds:
    """Return the thresholds of each kind; one alone is for the metrics that are usual, of the kind that it says."""
    if thresholds is None or thresholds == DriftThresholds():
        return DEFAULTS
    if thresholds.numerical or thresholds.categorical or (limit := thresholds.threshold) is None:
        return thresholds
    kind = thresholds.data_type
    return DriftThresholds(
        numerical=NumericalDrift(normalized_wasserstein_distance=limit) if kind != CATEGORICAL else None,
        categorical=CategoricalDrift(jensen_shannon_distance=limit) if kind != NUMERICAL else None,
    )


def _said(thresholds: NumericalDrift | CategoricalDrift | None) -> dict[str, float]:
    return dict(_written(thresholds))


def _written(thresholds: Any) -> Iterator[tuple[str, float]]:
    for name in getattr(thresholds, "__slots__", ()):
        if (value := getattr(thresholds, name)) is not None:
            yield name, float(value)

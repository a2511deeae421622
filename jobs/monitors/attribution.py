"""Features whose weight is no longer as it was: what a model that copies the answers needs, before and now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jobs.monitors.features import CATEGORICAL, NUMERICAL, Feature
from jobs.monitors.frames import Frame, is_number, quoted
from jobs.monitors.measures import Found, Measure, Shape, Skip
from workspace.errors import Invalid, MissingExtra, did_you_mean

if TYPE_CHECKING:
    import duckdb

    from jobs.files.monitor import AttributionThreshold

THRESHOLD = 0.9
GAIN = "normalized_discounted_cumulative_gain"
ROWS = 5_000  # of which importances are measured, at most
_CLASSES = 20  # numbers of that many values or fewer are classes
_TREES, _REPEATS, _SEED = 40, 3, 7


def attribution(
    database: duckdb.DuckDBPyConnection, sides: tuple[tuple[Frame, str], tuple[Frame, str]],
    features: Sequence[Feature], thresholds: AttributionThreshold, *, task: str | None,
) -> Found:  # fmt: skip
    """Measure how alike the order of importance is: 1 where it is the same. `sides` are frames and what they answer."""
    if len(features) < 2:
        raise Skip("the order of importance needs two features at least")
    (reference, target), (production, answer) = sides
    before = importances(database, reference, features, target, task=task)
    after = importances(database, production, features, answer, task=task)
    value = gain([before[each.name] for each in features], [after[each.name] for each in features])
    limit = thresholds.normalized_discounted_cumulative_gain
    if limit is None:
        limit = THRESHOLD if thresholds.threshold is None else thresholds.threshold
    shown = Shape(
        labels=[each.name for each in features], reference=[before[each.name] for each in features],
        production=[after[each.name] for each in features],
    )  # fmt: skip
    each = [
        Measure(metric=metric, value=found[feature.name], feature=feature.name, kind=feature.kind)
        for feature in features
        for metric, found in (("reference_importance", before), ("production_importance", after))
    ]
    return Found(measures=[Measure(metric=GAIN, value=value, threshold=limit), *each], shapes={"importance": shown})


def gain(reference: Sequence[float], production: Sequence[float]) -> float:
    """Return the normalised discounted cumulative gain of an order of importance, by scikit-learn.

    >>> gain([3, 2, 1], [30, 20, 10])
    1.0
    """
    return float(_learning().metrics.ndcg_score([list(reference)], [list(production)]))


def most_important(
    database: duckdb.DuckDBPyConnection, reference: Frame, features: Sequence[Feature], target: str, *, count: int
) -> list[Feature]:
    """Return the features that say most about the target, the most important first."""
    if len(features) <= count:
        return list(features)
    found = importances(database, reference, features, target)
    return sorted(features, key=lambda each: -found[each.name])[:count]


def importances(
    database: duckdb.DuckDBPyConnection, frame: Frame, features: Sequence[Feature], target: str, *,
    task: str | None = None,
) -> Mapping[str, float]:  # fmt: skip
    """Return how much each feature says about the target: what a model of the data loses where it is shuffled."""
    learning = _learning()
    import numpy

    if target not in frame.columns:
        raise Invalid(f"{frame.source} has no column {target!r}", hint=did_you_mean(target, frame.columns))
    rows = _rows(database, frame, [*(each.name for each in features), target])
    known = numpy.array([each is not None for each in rows[target]])
    if known.sum() < 2 * _REPEATS:
        raise Skip(f"{frame.source} has {int(known.sum())} rows with {target!r}, too few to learn from")
    given = numpy.column_stack([_encoded(rows[each.name], each.kind)[known] for each in features])
    said = [each for each in rows[target] if each is not None]
    is_regression = _is_regression(frame.columns[target], said, task)
    kind = "HistGradientBoostingRegressor" if is_regression else "HistGradientBoostingClassifier"
    model = getattr(learning.ensemble, kind)(max_iter=_TREES, random_state=_SEED)
    answers = numpy.array([float(each) for each in said] if is_regression else [str(each) for each in said])
    if len(set(answers.tolist())) < 2:
        return {each.name: 0.0 for each in features}
    model.fit(given, answers)
    lost = learning.inspection.permutation_importance(
        model, given, answers, n_repeats=_REPEATS, random_state=_SEED, n_jobs=1
    ).importances_mean
    return {each.name: max(0.0, float(value)) for each, value in zip(features, lost, strict=True)}


def _rows(database: duckdb.DuckDBPyConnection, frame: Frame, names: Sequence[str]) -> dict[str, list[Any]]:
    wanted = ", ".join(quoted(name) for name in names)
    found = database.execute(
        f"SELECT {wanted} FROM {frame.table} USING SAMPLE reservoir({ROWS} ROWS) REPEATABLE ({_SEED})"
    ).fetchall()
    return {name: [row[place] for row in found] for place, name in enumerate(names)}


def _encoded(values: Sequence[Any], kind: str) -> Any:
    """Return values as numbers: words by how often they are met, the most frequent first; what is missing is none."""
    import numpy

    if kind == NUMERICAL:
        return numpy.array([_number(each) for each in values])
    words = [None if each is None else str(each) for each in values]
    known, met = numpy.unique([each for each in words if each is not None], return_counts=True)
    codes = {str(known[place]): float(code) for code, place in enumerate(numpy.argsort(-met, kind="stable"))}
    return numpy.array([float("nan") if each is None else codes[each] for each in words])


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")


def _is_regression(kind: str, values: Sequence[Any], task: str | None) -> bool:
    if task in ("classification", "regression"):
        return task == "regression" and is_number(kind)
    return is_number(kind) and len(set(values)) > _CLASSES


def _learning() -> Any:
    """Return scikit-learn; MissingExtra where it is not installed."""
    try:
        import sklearn
        import sklearn.ensemble
        import sklearn.inspection
        import sklearn.metrics
    except ImportError:
        raise MissingExtra("the importance of features", hint="pip install 'studiolo[automl]'") from None
    return sklearn


def kind_of(frame: Frame, name: str) -> str:
    """Return what a column is taken for."""
    return NUMERICAL if is_number(frame.columns[name]) else CATEGORICAL

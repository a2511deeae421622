"""Data that is missing, of another type, or outside of what the reference has: rates for each feature."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jobs.files.monitor import QualityRates, QualityThresholds
from jobs.monitors.features import CATEGORICAL, NUMERICAL, Feature
from jobs.monitors.frames import Frame, quoted
from jobs.monitors.measures import Found, Measure

if TYPE_CHECKING:
    import duckdb

RATES = ("null_value_rate", "data_type_error_rate", "out_of_bounds_rate")
NONE_ALLOWED = QualityRates(null_value_rate=0.0, data_type_error_rate=0.0, out_of_bounds_rate=0.0)
DEFAULTS = QualityThresholds(numerical=NONE_ALLOWED, categorical=NONE_ALLOWED)
_BOUNDS = "(SELECT {what} FROM {reference} WHERE {name} IS NOT NULL AND NOT {missing})"


def quality(
    database: duckdb.DuckDBPyConnection, reference: Frame, production: Frame,
    features: Sequence[Feature], thresholds: QualityThresholds | None,
) -> Found:  # fmt: skip
    """Measure which shares of the rows are missing, of the wrong type or out of bounds, feature by feature.

    The reference says what is right: its types, its least and greatest numbers, its words.
    """
    wanted = _wanted(thresholds)
    measures: list[Measure] = []
    for feature in features:
        said: Any = wanted.numerical if feature.kind == NUMERICAL else wanted.categorical
        names = [name for name in RATES if said is not None and getattr(said, name) is not None]
        if not names:
            continue
        rates = _rates(database, reference, production, feature)
        measures += [
            Measure(
                metric=name, value=rates[name], threshold=float(getattr(said, name)), feature=feature.name,
                kind=feature.kind,
            )
            for name in names
        ]  # fmt: skip
    return Found(measures=measures)


def _wanted(thresholds: QualityThresholds | None) -> QualityThresholds:
    """Return the thresholds of each kind; one alone is for all rates, of the kind that it says."""
    if thresholds is None or thresholds == QualityThresholds():
        return DEFAULTS
    if thresholds.numerical or thresholds.categorical or (limit := thresholds.threshold) is None:
        return thresholds
    rates = QualityRates(null_value_rate=limit, data_type_error_rate=limit, out_of_bounds_rate=limit)
    kind = thresholds.data_type
    return QualityThresholds(
        numerical=rates if kind != CATEGORICAL else None, categorical=rates if kind != NUMERICAL else None
    )


def _rates(
    database: duckdb.DuckDBPyConnection, reference: Frame, production: Frame, feature: Feature
) -> dict[str, float]:
    name, right = quoted(feature.name), reference.columns[feature.name]
    # Files of pandas and Polars have "not a number" where a number is missing; DuckDB takes it for the greatest.
    missing = f"coalesce(isnan(TRY_CAST({name} AS DOUBLE)), false)" if feature.kind == NUMERICAL else "false"
    if feature.kind == NUMERICAL:
        least, most = (
            _BOUNDS.format(
                what=f"{way}(TRY_CAST({name} AS DOUBLE))", reference=reference.table, name=name, missing=missing
            )
            for way in ("min", "max")
        )
        outside = f"TRY_CAST(v AS DOUBLE) < {least} OR TRY_CAST(v AS DOUBLE) > {most}"
    else:
        known = _BOUNDS.format(
            what=f"list(DISTINCT {name}::VARCHAR)", reference=reference.table, name=name, missing="false"
        )
        outside = f"NOT list_contains({known}, v::VARCHAR)"
    found = database.execute(
        f"SELECT avg((v IS NULL)::INT), avg((v IS NOT NULL AND ({_wrong(right)}))::INT), "
        f"avg(coalesce(v IS NOT NULL AND ({outside}), false)::INT) FROM "
        f"(SELECT CASE WHEN NOT {missing} THEN {name} END AS v FROM {production.table})"
    ).fetchone()
    return dict(zip(RATES, (float(each or 0.0) for each in found or (0, 0, 0)), strict=True))


def _wrong(right: str) -> str:
    """Return what holds for a value that is not of a type; whole numbers have no fraction."""
    if "INT" in right:
        return "TRY_CAST(v AS DOUBLE) IS NULL OR TRY_CAST(v AS DOUBLE) <> floor(TRY_CAST(v AS DOUBLE))"
    if right == "VARCHAR":
        return "false"
    return f"TRY_CAST(v AS {right}) IS NULL"

"""What a model reaches, by truth that comes later: answers and truths meet by their correlation ids."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jobs.files.monitor import ClassifierThresholds, PerformanceThresholds
from jobs.monitors.frames import ALONE, ANSWER, CORRELATION, EVENT, Frame, is_number, quoted
from jobs.monitors.measures import Found, Measure, Skip
from workspace.errors import Invalid, did_you_mean

if TYPE_CHECKING:
    import duckdb

CLASSIFICATION, REGRESSION = "classification", "regression"
_TRUTHS = ("actual", "ground_truth", "target_column", "target")


def performance(
    database: duckdb.DuckDBPyConnection, sides: tuple[Frame, Frame],
    names: tuple[Mapping[str, str], Mapping[str, str]], thresholds: PerformanceThresholds, *, task: str | None,
) -> Found:  # fmt: skip
    """Measure answers against truths. `sides` and `names` are of production data, then of truths."""
    answers, truths = sides
    answer = _column(answers, names[0], ("prediction", "target_column", "target"), ANSWER)
    truth = _column(truths, names[1], _TRUTHS, "")
    own, theirs = (each.get("correlation_id", CORRELATION) for each in names)
    for frame, name in ((answers, own), (truths, theirs)):
        if name not in frame.columns:
            raise Invalid(f"{frame.source} has no column {name!r} to join by", hint=did_you_mean(name, frame.columns))
    met = f"a.{quoted(own)}::VARCHAR = t.{quoted(theirs)}::VARCHAR"
    if own == CORRELATION and _has_events(database, answers):  # an id with one row need not say that it is the first
        met = f"({met} OR (a.{ALONE} AND a.{EVENT} = t.{quoted(theirs)}::VARCHAR))"
    pairs = (
        f"SELECT a.{quoted(answer)} AS said, t.{quoted(truth)} AS meant FROM {answers.table} a "
        f"JOIN {truths.table} t ON {met} WHERE said IS NOT NULL AND meant IS NOT NULL"
    )
    wanted = _task(thresholds, task, truths.columns[truth])
    found = _off(database, pairs) if wanted == REGRESSION else _reached(database, pairs)
    said: Any = thresholds.regression if wanted == REGRESSION else thresholds.classification
    said = said or ClassifierThresholds()
    note = f"{found['rows']:.0f} of {answers.rows} answers have a truth"
    limits = {metric: getattr(said, metric, None) for metric in found}
    measures = [
        Measure(
            metric=metric, value=value, threshold=thresholds.threshold if limits[metric] is None else limits[metric]
        )
        for metric, value in found.items()
        if metric != "rows"
    ]
    return Found(measures=[*measures, Measure(metric="joined_rows", value=found["rows"])], notes=[note])


def scores(pairs: Sequence[tuple[str, str, int]]) -> dict[str, float]:
    """Return accuracy, and precision and recall as the mean over classes, of (answer, truth, how often).

    >>> scores([("a", "a", 3), ("a", "b", 1)])
    {'accuracy': 0.75, 'precision': 0.375, 'recall': 0.5}
    """
    classes = {each for said, meant, _ in pairs for each in (said, meant)}
    total = sum(count for *_, count in pairs)
    right = dict.fromkeys(classes, 0)
    answered, true = dict(right), dict(right)
    for said, meant, count in pairs:
        answered[said] += count
        true[meant] += count
        right[said] += count if said == meant else 0
    return {
        "accuracy": sum(right.values()) / total,
        "precision": sum(right[each] / answered[each] for each in classes if answered[each]) / len(classes),
        "recall": sum(right[each] / true[each] for each in classes if true[each]) / len(classes),
    }


def _reached(database: duckdb.DuckDBPyConnection, pairs: str) -> dict[str, float]:
    rows = database.execute(
        f"SELECT said, meant, count(*) FROM (SELECT {_plain('said')} AS said, {_plain('meant')} AS meant "
        f"FROM ({pairs})) GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    if not rows:
        raise Skip("no answer of this time has a truth yet")
    return scores(rows) | {"rows": float(sum(count for *_, count in rows))}


def _plain(name: str) -> str:
    """Return a class as text, the same whether it came as 1, 1.0 or true."""
    number = f"CASE lower({name}::VARCHAR) WHEN 'true' THEN 1.0 WHEN 'false' THEN 0.0 ELSE "
    return f"coalesce(({number}TRY_CAST({name}::VARCHAR AS DOUBLE) END)::VARCHAR, {name}::VARCHAR)"


def _off(database: duckdb.DuckDBPyConnection, pairs: str) -> dict[str, float]:
    found = database.execute(
        "SELECT avg(abs(off)), avg(off * off), count(off) FROM "
        f"(SELECT TRY_CAST(said AS DOUBLE) - TRY_CAST(meant AS DOUBLE) AS off FROM ({pairs}))"
    ).fetchone()
    if found is None or not found[2]:
        raise Skip("no answer of this time has a truth yet")
    return {"mae": found[0], "mse": found[1], "rmse": math.sqrt(found[1]), "rows": float(found[2])}


def _has_events(database: duckdb.DuckDBPyConnection, frame: Frame) -> bool:
    return EVENT in {row[0] for row in database.execute(f"DESCRIBE {frame.table}").fetchall()}


def _column(frame: Frame, names: Mapping[str, str], keys: Sequence[str], otherwise: str) -> str:
    said = next((names[key] for key in keys if names.get(key)), otherwise)
    if said not in frame.columns:
        hint = f"say it under data_column_names, as `{keys[0]}`; its columns: {', '.join(frame.columns)}"
        raise Invalid(
            f"{frame.source} has no column {said!r}" if said else f"{frame.source}: no `{keys[0]}`", hint=hint
        )
    return str(said)


def _task(thresholds: PerformanceThresholds, task: str | None, kind: str) -> str:
    if thresholds.regression is not None and thresholds.classification is None:
        return REGRESSION
    if thresholds.classification is not None:
        return CLASSIFICATION
    if task in (CLASSIFICATION, REGRESSION):
        return str(task)
    return REGRESSION if is_number(kind) and "INT" not in kind else CLASSIFICATION

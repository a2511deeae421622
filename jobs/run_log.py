"""What is logged of a job's run while it runs, by plain SQL: metrics, parameters, tags. MLflow is told of it later."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from workspace.errors import Invalid, NotFound
from workspace.light_database import LightDatabase, Statements, from_json, number, to_json
from workspace.run_names import refuse_names

TAG, PARAM = 5000, 6000  # letters of a value; what MLflow's own store takes
_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class Point:
    """One value of one metric, at a time in UTC seconds."""

    key: str
    value: float
    step: int
    at: float


@dataclass(frozen=True, slots=True)
class Logged:
    """One value that was logged, and its place in the order of all."""

    id: int
    run_id: str
    value: float


def log(
    database: LightDatabase,
    run_id: str,
    *,
    points: Iterable[Point] = (),
    params: Mapping[str, str] | None = None,
    tags: Mapping[str, str | None] | None = None,
) -> None:
    """Write all of it, or nothing; a tag that is None is taken away. Invalid where a parameter has another value."""
    points, params, tags = list(points), params or {}, tags or {}
    refuse_names([*(point.key for point in points), *params, *tags])
    with database.write(durable=False, hold=("metrics",)) as statements:
        if params or tags:
            _words(statements, run_id, params, tags)
        for point in points:
            statements.change(
                "INSERT INTO metrics (run_id, key, step, value, ts) VALUES (:run, :key, :step, :value, :at)",
                run=run_id, key=point.key, step=point.step, at=point.at,
                value=None if math.isnan(point.value) else point.value,
            )  # fmt: skip
        statements.change("UPDATE runs SET changed = changed + 1 WHERE run_id = :run", run=run_id)


def logged(database: LightDatabase, run_ids: Iterable[str], key: str, *, after: int = 0) -> list[Logged]:
    """Return what runs have logged of a metric since the one numbered `after`, in the order in which it was logged."""
    found: list[Logged] = []
    asked = list(run_ids)
    for first in range(0, len(asked), _AT_ONCE):
        values = {f"run_{number}": each for number, each in enumerate(asked[first : first + _AT_ONCE])}
        wanted = ", ".join(f":{name}" for name in values)
        query = f"SELECT id, run_id, value FROM metrics WHERE key = :key AND id > :after AND run_id IN ({wanted})"
        rows = database.rows(query, key=key, after=after, **values)
        found += [Logged(row["id"], row["run_id"], number(row["value"])) for row in rows]
    return sorted(found, key=lambda each: each.id)


def keys_of(database: LightDatabase, run_id: str) -> list[str]:
    """Return the names of what a run has logged, without what its job was charged."""
    rows = database.rows("SELECT DISTINCT key FROM metrics WHERE run_id = :run ORDER BY key", run=run_id)
    return [str(row["key"]) for row in rows if not str(row["key"]).startswith("usage/")]


def _words(statements: Statements, run_id: str, params: Mapping[str, str], tags: Mapping[str, str | None]) -> None:
    rows = statements.rows("SELECT params, tags FROM runs WHERE run_id = :run", run=run_id)
    if not rows:
        raise NotFound(f"no run {run_id!r}")
    known: dict[str, Any] = from_json(rows[0]["params"])
    for key, value in params.items():
        if key in known and not _is_same(known[key], value):
            hint = "parameters never change: log what changes as a metric or tag"
            raise Invalid(f"parameter {key!r} is {known[key]!r} already, not {value!r}", hint=hint)
        known.setdefault(key, value[:PARAM])
    words = from_json(rows[0]["tags"]) | {key: value[:TAG] for key, value in tags.items() if value is not None}
    kept = {key: value for key, value in words.items() if tags.get(key, "") is not None}
    statements.change(
        "UPDATE runs SET params = :params, tags = :tags WHERE run_id = :run",
        run=run_id, params=to_json(known), tags=to_json(kept),
    )  # fmt: skip


def _is_same(known: Any, value: str) -> bool:
    """Whether a parameter is what it was; a script may well log 3 as 3.0 when its command said 3."""
    if str(known) == value:
        return True
    try:
        return float(known) == float(value)
    except (TypeError, ValueError):
        return False

"""Which columns of the data a signal measures, and whether they are numbers or words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jobs.files.monitor import TopFeatures
from jobs.monitors.frames import HIDDEN, Frame, is_number, quoted
from jobs.monitors.measures import Skip
from workspace.errors import Invalid, did_you_mean

if TYPE_CHECKING:
    import duckdb
    import numpy

    Numbers = numpy.ndarray[Any, Any]

NUMERICAL, CATEGORICAL = "numerical", "categorical"
TOP = 10
_WORDS = ("VARCHAR", "BOOLEAN", "ENUM")


@dataclass(frozen=True, slots=True)
class Feature:
    """One column, and what it is taken for."""

    name: str
    kind: str


def common(
    reference: Frame, production: Frame, *, overrides: Mapping[str, Any], apart: Sequence[str] = ()
) -> list[Feature]:
    """Return the columns that both have; numbers are numerical, words and truths categorical.

    `overrides` say otherwise; `apart` are columns that are no features.
    """
    unknown = [name for name in overrides if name not in reference.columns and name not in production.columns]
    if unknown:
        hint = did_you_mean(unknown[0], production.columns)
        raise Invalid(f"`feature_type_override` names {unknown[0]!r}, which the data does not have", hint=hint)
    found = []
    for name, kind in reference.columns.items():
        if name in production.columns and name not in (*HIDDEN, *apart) and (said := _kind(name, kind, overrides)):
            found.append(Feature(name, said))
    return found


def chosen(features: Sequence[Feature], wanted: Any) -> list[Feature]:
    """Return the features that a signal names; all where it names none."""
    if not isinstance(wanted, list | tuple):
        return list(features)
    by_name = {each.name: each for each in features}
    for name in wanted:
        if name not in by_name:
            raise Invalid(
                f"`features` names {name!r}, which is not in both data", hint=did_you_mean(str(name), by_name)
            )
    return [by_name[name] for name in wanted]


def top(wanted: Any, *, is_training: bool) -> int | None:
    """Return how many of the most important features are wanted; None: importance decides nothing."""
    if isinstance(wanted, TopFeatures):
        return wanted.top_n_feature_importance
    return TOP if wanted is None and is_training else None


def target_of(data: Any) -> str | None:
    """Return the column that reference data is trained for."""
    if data is None:
        return None
    names = data.data_column_names
    found = getattr(data, "target_column_name", None) or names.get("target_column") or names.get("target")
    return None if found is None else str(found)


def numbers(database: duckdb.DuckDBPyConnection, frame: Frame, name: str) -> Numbers:
    """Return the numbers of a column, without what is none."""
    found: Numbers = database.execute(
        f"SELECT v FROM (SELECT TRY_CAST({quoted(name)} AS DOUBLE) AS v FROM {frame.table}) "
        "WHERE v IS NOT NULL AND isfinite(v)"
    ).fetchnumpy()["v"]
    return found


def counts(
    database: duckdb.DuckDBPyConnection, reference: Frame, production: Frame, name: str
) -> tuple[list[str], Numbers, Numbers]:
    """Return the words of a column and how often each has them, the most frequent of the reference first."""
    asked = " UNION ALL ".join(
        f"SELECT {number} AS side, {quoted(name)}::VARCHAR AS word FROM {frame.table} WHERE {quoted(name)} IS NOT NULL"
        for number, frame in enumerate((reference, production))
    )
    found = database.execute(
        "SELECT word, count(*) FILTER (side = 0)::DOUBLE AS before, count(*) FILTER (side = 1)::DOUBLE AS after "
        f"FROM ({asked}) GROUP BY word ORDER BY before DESC, after DESC, word"
    ).fetchnumpy()
    return [str(each) for each in found["word"]], found["before"], found["after"]


def need_rows(*frames: Frame) -> None:
    """Raise Skip where there is nothing to measure."""
    for frame in frames:
        if not frame.rows:
            when = f" from {frame.span.plain()['from']} to {frame.span.plain()['to']}" if frame.span else ""
            raise Skip(f"there is no data of {frame.source}{when}")


def _kind(name: str, written: str, overrides: Mapping[str, Any]) -> str | None:
    said = str(overrides.get(name, "")).lower()
    if said:
        if said not in (NUMERICAL, CATEGORICAL):
            raise Invalid(f"`feature_type_override` of {name!r} cannot be {said!r}", hint="numerical or categorical")
        return said
    if is_number(written):
        return NUMERICAL
    return CATEGORICAL if written.startswith(_WORDS) else None

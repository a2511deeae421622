"""Columns made over: fitted on some rows, told as JSON, and done to others in the same way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from finetune.tabular import tables
from workspace.errors import Invalid

if TYPE_CHECKING:
    from pandas import DataFrame

Fitted = dict[str, dict[str, Any]]
Scaling = Literal["standard", "range", "robust"]
Encoding = Literal["onehot", "ordinal"]
MISSING = "missing"
_PARTS = {"year": "year", "month": "month", "day": "day", "weekday": "day_of_week", "hour": "hour"}


def fit_imputation(table: DataFrame, *, leave: Sequence[str] = ()) -> Fitted:
    """Say what stands for missing values: the middle of numbers, the most frequent of all else."""
    from pandas.api.types import is_numeric_dtype

    found: Fitted = {}
    for name in _columns(table, leave):
        there = table[name].dropna()
        if not len(there):
            continue
        value = there.median() if is_numeric_dtype(there) and there.dtype != bool else there.mode().iloc[0]
        found[name] = {"value": value.item() if hasattr(value, "item") else str(value)}
    return found


def impute(table: DataFrame, fitted: Fitted) -> DataFrame:
    """Put values where they are missing; a column that has none at all is left as it is."""
    tables.has(table, [*fitted])
    found = table.copy()
    for name, told in fitted.items():
        found[name] = found[name].fillna(told["value"])
    return found


def fit_scaling(table: DataFrame, how: Scaling = "standard", *, leave: Sequence[str] = ()) -> Fitted:
    """Say from where and in which steps numbers are told."""
    from pandas.api.types import is_numeric_dtype

    found: Fitted = {}
    for name in _columns(table, leave):
        column = table[name].dropna()
        if not is_numeric_dtype(column) or column.dtype == bool or not len(column):
            continue
        if how == "standard":
            start, step = column.mean(), column.std(ddof=0)
        elif how == "range":
            start, step = column.min(), column.max() - column.min()
        elif how == "robust":
            start, step = column.median(), column.quantile(0.75) - column.quantile(0.25)
        else:
            raise Invalid(f"no scaling {how!r}", hint="standard, range or robust")
        found[name] = {"start": float(start), "step": float(step) if step > 0 else 1.0}  # constants become 0
    return found


def scale(table: DataFrame, fitted: Fitted) -> DataFrame:
    """Tell numbers from where and in steps as they were fitted."""
    tables.has(table, [*fitted])
    return table.assign(**{name: (table[name] - told["start"]) / told["step"] for name, told in fitted.items()})


def fit_encoding(table: DataFrame, how: Encoding = "onehot", *, most: int = 50, leave: Sequence[str] = ()) -> Fitted:
    """Say which words become which numbers; dates, also as text, become their parts."""
    from pandas.api.types import is_bool_dtype, is_datetime64_any_dtype, is_numeric_dtype

    from finetune.tabular.problems import are_dates

    if how not in ("onehot", "ordinal"):
        raise Invalid(f"no encoding {how!r}", hint="onehot or ordinal")
    found: Fitted = {}
    for name in _columns(table, leave):
        column = table[name].dropna()
        if not len(column) or (is_numeric_dtype(column) and not is_bool_dtype(column)):
            continue
        if is_datetime64_any_dtype(column) or are_dates(column):
            found[name] = {"how": "date"}
        else:
            words = column.astype(str).value_counts().index[:most]
            found[name] = {"how": how, "words": sorted(words)}
    return found


def encode(table: DataFrame, fitted: Fitted) -> DataFrame:
    """Make numbers of words and dates; a word that was never seen is no word (onehot) or -1 (ordinal)."""
    import pandas

    tables.has(table, [*fitted])
    parts = []
    for name in table.columns:
        told = fitted.get(str(name))
        if told is None:
            parts.append(table[[name]])
        elif told["how"] == "date":
            parts.append(_dates(table, str(name)))
        elif told["how"] == "ordinal":
            places = {word: place for place, word in enumerate(told["words"])}
            parts.append(table[name].astype(str).map(places).fillna(-1).astype(int).to_frame(name))
        else:
            words = table[name].where(table[name].notna(), None).astype(str)
            parts.append(pandas.DataFrame({f"{name}={word}": (words == word).astype(int) for word in told["words"]}))
    return pandas.concat(parts, axis=1)


def _dates(table: DataFrame, name: str) -> DataFrame:
    import pandas

    moments = pandas.to_datetime(table[name], errors="coerce", format="mixed")
    found = {f"{name}.{part}": getattr(moments.dt, own) for part, own in _PARTS.items()}
    found[f"{name}.days"] = (moments - pandas.Timestamp(1970, 1, 1)) / pandas.Timedelta(days=1)
    return pandas.DataFrame(found)


def _columns(table: DataFrame, leave: Sequence[str]) -> list[str]:
    tables.has(table, leave)
    return [str(name) for name in table.columns if name not in leave]

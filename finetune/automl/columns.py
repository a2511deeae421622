"""What each column of a table is for: a number, a category, a date, a text, or nothing; and why it was taken so."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from workspace.errors import Invalid

NUMERIC, CATEGORY, DATE, TEXT, IGNORE = "numeric", "category", "date", "text", "ignore"
# Azure ML's words for purposes, and ours.
PURPOSES = {
    "numeric": NUMERIC, "categorical": CATEGORY, "category": CATEGORY, "categoricalhash": CATEGORY,
    "datetime": DATE, "date": DATE, "text": TEXT, "ignore": IGNORE, "hashes": IGNORE,
}  # fmt: skip
MANY = 100  # levels from which a category is no longer written as one column each
MOST_CODES = 1000  # whole numbers that may as well be codes
_LOOKED_AT = 2000  # values of a column that guesses are made of
_SURE = 0.95
_WORDS = 4.0  # a text has at least so many on average
_LONG = 60.0  # or so many letters
_ID = re.compile(r"(^|_)(id|uuid|guid|key|index|row|rowid)s?$", re.IGNORECASE)
_FEWEST = 20  # rows from which uniqueness says something
_DATE_LIKE = re.compile(
    r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}|\d{4}-?\d{2}-?\d{2}T|\d{1,2} \w{3,9} \d{4}|\w{3,9} \d{1,2}, \d{4}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column as the featurizer takes it."""

    name: str
    purpose: str
    why: str
    levels: int = 0
    missing: float = 0.0  # the part of the rows
    type: str = ""  # as it came

    def plain(self) -> dict[str, Any]:
        """Return it as JSON keeps it."""
        return {name: getattr(self, name) for name in self.__slots__}


def look(frame: Any, given: Mapping[str, str] | None = None) -> list[Column]:
    """Return what the columns of a table are for; `given` says it of some."""
    given = given or {}
    if unknown := sorted(set(given) - set(frame.columns)):
        hint = f"the columns are {', '.join(map(str, frame.columns[:20]))}"
        raise Invalid(f"`column_name_and_types` names {unknown[0]!r}, which is no column", hint=hint)
    found = [_look(frame[name], str(name), given.get(name)) for name in frame.columns]
    if all(column.purpose == IGNORE for column in found):
        reasons = "; ".join(f"{column.name}: {column.why}" for column in found[:5])
        raise Invalid(f"no column can be learned from ({reasons})", hint="give more columns, or say their purposes")
    return found


def _look(values: Any, name: str, said: str | None) -> Column:
    there = values.dropna()
    texts = there.map(str) if there.dtype == object else there
    levels = int(texts.nunique())
    missing = 1 - len(there) / max(1, len(values))
    purpose, why = _said(name, said) if said else _guessed(name, there, levels, len(values))
    return Column(name=name, purpose=purpose, why=why, levels=levels, missing=missing, type=str(values.dtype))


def _said(name: str, said: str) -> tuple[str, str]:
    purpose = PURPOSES.get(said.replace("_", "").lower())
    if purpose is None:
        hint = "Numeric, Categorical, DateTime, Text or Ignore"
        raise Invalid(f"column {name!r} cannot have the purpose {said!r}", hint=hint)
    return purpose, "the job's file says so"


def _guessed(name: str, there: Any, levels: int, rows: int) -> tuple[str, str]:
    if not len(there):
        return IGNORE, "it has no value"
    if levels == 1:
        return IGNORE, "it has the same value in every row"
    if pd.api.types.is_bool_dtype(there):
        return CATEGORY, "it is true or false"
    if pd.api.types.is_datetime64_any_dtype(there):
        return DATE, "it is a moment"
    if pd.api.types.is_numeric_dtype(there):
        return _numbers(name, there, levels, rows)
    return _words(there.map(str), levels, rows)


def _numbers(name: str, there: Any, levels: int, rows: int) -> tuple[str, str]:
    is_whole = pd.api.types.is_integer_dtype(there)
    if is_whole and levels == rows >= _FEWEST:
        steps = np.diff(there.to_numpy())
        if (steps == steps[0]).all():
            return IGNORE, "it counts the rows"
        if _ID.search(name):
            return IGNORE, "it names each row: all values differ"
    return NUMERIC, "it is a number"


def _words(there: Any, levels: int, rows: int) -> tuple[str, str]:
    sample = there.sample(min(len(there), _LOOKED_AT), random_state=0) if len(there) > _LOOKED_AT else there
    stripped = sample.str.strip()
    if float(pd.to_numeric(stripped, errors="coerce").notna().mean()) >= _SURE:
        return NUMERIC, "its texts are numbers"
    if float(stripped.str.contains(_DATE_LIKE).mean()) >= _SURE and float(as_dates(stripped).notna().mean()) >= _SURE:
        return DATE, "its texts are dates"
    words = float(stripped.str.count(r"\s+").mean()) + 1
    letters = float(stripped.str.len().mean())
    if levels > min(MANY, rows / 2) and (words >= _WORDS or letters >= _LONG) and words > 1.5:
        return TEXT, f"it has {words:.0f} words a row, and {levels:,} different texts"
    if levels == rows >= _FEWEST:
        if words > 2:
            return TEXT, f"all its texts differ, with {words:.0f} words a row"
        return IGNORE, "it names each row: all values differ"
    kind = "hashed or encoded by the target" if levels > MANY else "a column each or codes"
    return CATEGORY, f"it has {levels:,} different words ({kind})"


def as_dates(values: Any) -> Any:
    """Return moments of whatever says moments, without their zones; what says none is missing."""
    if pd.api.types.is_numeric_dtype(values):
        return pd.to_datetime(values, unit="s", errors="coerce")
    found = pd.to_datetime(values, format="mixed", errors="coerce", utc=True)
    return found.dt.tz_localize(None)

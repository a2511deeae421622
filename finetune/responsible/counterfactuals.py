"""What would have had to be otherwise for another outcome: the fewest and smallest changes of what can change."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from finetune.tabular.asking import Asked

if TYPE_CHECKING:
    from pandas import DataFrame

_VALUES, _WIDTH, _CHANGES = 12, 20, 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What stays as it is, and what may only grow ("up") or shrink ("down")."""

    fixed: tuple[str, ...] = ()
    only: Mapping[str, Literal["up", "down"]]


@dataclass(frozen=True, slots=True)
class Otherwise:
    """A row, what the model says of it, and the changes by which it says what is wished for; empty: none were found."""

    row: int
    said: Any
    wished: Any
    changes: Mapping[str, tuple[Any, Any]]


def search(asked: Asked, table: DataFrame, rows: Sequence[int], wished: Any, limits: Limits) -> tuple[Otherwise, ...]:
    """Return for each row how it would get the wished-for class: three columns changed at most, to known values."""
    given = asked.given(table)
    values = {str(name): _values(given[name]) for name in given.columns if name not in limits.fixed}
    sizes = {name: _size(given[name]) for name in values}
    said = asked.predict(table.iloc[list(rows)]) if rows else []
    found = []
    for row, answer in zip(rows, said, strict=True):
        changed = _search(asked, given.iloc[row], values, sizes, (wished, limits))
        plain = answer.item() if hasattr(answer, "item") else answer
        before = given.iloc[row]
        found.append(
            Otherwise(row, plain, wished, {name: (_plain(before[name]), value) for name, value in changed.items()})
        )
    return tuple(found)


def _search(
    asked: Asked, row: Any, values: Mapping[str, list[Any]], sizes: Mapping[str, float], aim: tuple[Any, Limits]
) -> dict[str, Any]:
    import pandas

    wished, limits = aim
    beam: list[dict[str, Any]] = [{}]
    for _ in range(_CHANGES):
        tried = [{**changes, name: value} for changes in beam for name, there in values.items() if name not in changes
                 for value in there if _allowed(name, row[name], value, limits)]  # fmt: skip
        tried = list({tuple(sorted(changes.items(), key=lambda pair: pair[0])): changes for changes in tried}.values())
        if not tried:
            return {}
        rows = pandas.DataFrame([{**row.to_dict(), **changes} for changes in tried])
        far = [sum(_far(row[name], value, sizes[name]) for name, value in changes.items()) for changes in tried]
        right = [place for place, said in enumerate(asked.predict(rows)) if said == wished]
        if right:
            return tried[min(right, key=lambda place: far[place])]
        chances = asked.chances(rows)
        gain = chances[:, [*asked.classes].index(wished)] if chances is not None else [-each for each in far]
        beam = [tried[place] for place in sorted(range(len(tried)), key=lambda place: -gain[place])[:_WIDTH]]
    return {}


def _values(column: Any) -> list[Any]:
    from pandas.api.types import is_numeric_dtype

    there = column.dropna()
    if is_numeric_dtype(column):
        if there.nunique() <= _VALUES:
            return [float(each) for each in sorted(there.unique())]
        spread = [place / (_VALUES - 1) for place in range(_VALUES)]
        return sorted({float(each) for each in there.quantile(spread, interpolation="nearest")})
    return [*there.value_counts().index[:_VALUES]]


def _allowed(name: str, before: Any, after: Any, limits: Limits) -> bool:
    way = limits.only.get(name)
    if before == after:
        return False
    if way is None:
        return True
    return bool(after > before) if way == "up" else bool(after < before)


def _far(before: Any, after: Any, size: float) -> float:
    """A change counts 1, and for numbers by how much of their spread they move."""
    if isinstance(after, str) or before is None or (isinstance(before, float) and math.isnan(before)):
        return 2.0
    return 1.0 + abs(float(after) - float(before)) / size


def _size(column: Any) -> float:
    from pandas.api.types import is_numeric_dtype

    return float(column.std() or 1.0) if is_numeric_dtype(column) else 1.0


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value

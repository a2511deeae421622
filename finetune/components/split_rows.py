"""Rows apart: at random, with the same share of each class, whole groups together, or the latest for the test."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.components import door
from finetune.tabular import tables
from workspace.errors import Invalid

if TYPE_CHECKING:
    from pandas import DataFrame


def main(given: argparse.Namespace) -> None:
    """Write the rows of both sides."""
    table = tables.read(given.rows)
    inside = chosen(table, given)
    if not inside.any() or inside.all():
        hint = "more rows, or another share"
        raise Invalid(f"{len(table):,} rows cannot be split so that both sides have some", hint=hint)
    for name, rows in (("train", table[~inside]), ("test", table[inside])):
        door.tell(f"{name}: {len(rows):,} rows")
        door.put(rows.reset_index(drop=True), getattr(given, name))


def chosen(table: DataFrame, given: argparse.Namespace) -> Any:
    """Return which rows are for the test."""
    import numpy
    import pandas

    if not 0 < given.share < 1:
        raise Invalid(f"share is between 0 and 1, not {given.share}")
    tables.has(table, [each for each in (given.by_class, given.by_group, given.by_time) if each])
    chance = numpy.random.default_rng(given.seed)
    if given.by_time:
        moments = pandas.to_datetime(table[given.by_time], format="mixed")
        return (moments > moments.sort_values().iloc[int(len(table) * (1 - given.share)) - 1]).to_numpy()
    if given.by_group:
        groups = table[given.by_group].unique()
        taken = chance.permutation(groups)[: max(1, round(len(groups) * given.share))]
        return table[given.by_group].isin(taken).to_numpy()
    drawn = pandas.Series(chance.random(len(table)))
    if given.by_class:
        place = drawn.groupby(table[given.by_class].to_numpy(), dropna=False).rank(method="first")
        size = drawn.groupby(table[given.by_class].to_numpy(), dropna=False).transform("size")
        return (place <= (size * given.share).round()).to_numpy()
    return (drawn.rank(method="first") <= round(len(table) * given.share)).to_numpy()


if __name__ == "__main__":
    parser = door.options(__doc__)
    parser.add_argument("--rows", type=Path, required=True)
    parser.add_argument("--share", type=float, default=0.2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--by-class", default="")
    parser.add_argument("--by-group", default="")
    parser.add_argument("--by-time", default="")
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--test", type=Path, required=True)
    door.start(main, parser)

"""What the components that make columns over have in common: learnt here, or learnt before and done again."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from finetune.components import door
from finetune.tabular import tables
from finetune.tabular.columns import Fitted

if TYPE_CHECKING:
    from pandas import DataFrame

LEARNT = "learnt.json"


def run(
    given: argparse.Namespace,
    fit: Callable[[DataFrame, tuple[str, ...]], Fitted],
    apply: Callable[[DataFrame, Fitted], DataFrame],
) -> None:
    """Learn from the rows, unless it was learnt from others, and make them over."""
    table = tables.read(given.rows)
    if given.fitted:
        learnt: Fitted = json.loads((given.fitted / LEARNT).read_text())
    else:
        learnt = fit(table, door.listed(given.leave))
    made = apply(table, learnt)
    door.put(made, given.made)
    given.learnt.mkdir(parents=True, exist_ok=True)
    (given.learnt / LEARNT).write_text(json.dumps(learnt, indent=1) + "\n")
    door.tell(f"{len(learnt)} columns made over: {', '.join(learnt)}")


def options(about: str | None) -> argparse.ArgumentParser:
    """Return the options that they share."""
    parser = door.options(about)
    parser.add_argument("--rows", type=Path, required=True)
    parser.add_argument("--leave", default="", help="columns to be left as they are, with commas between them")
    parser.add_argument("--fitted", type=Path, help="what the same component has learnt of other rows")
    parser.add_argument("--made", type=Path, required=True)
    parser.add_argument("--learnt", type=Path, required=True)
    return parser

"""What a model says of each row, beside the row: `prediction`, and `chance of CLASS` where the model tells it."""

from __future__ import annotations

import argparse
from pathlib import Path

from finetune.components import door
from finetune.tabular import tables
from finetune.tabular.asking import load


def main(given: argparse.Namespace) -> None:
    """Score the rows."""
    table = tables.read(given.rows)
    model = load(given.model)
    door.put(model.beside(table), given.scored)
    door.tell(f"{len(table):,} rows scored")


if __name__ == "__main__":
    parser = door.options(__doc__)
    parser.add_argument("--rows", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--scored", type=Path, required=True)
    door.start(main, parser)

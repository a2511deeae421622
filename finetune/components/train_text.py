"""Train on texts: tf-idf and a line."""

from __future__ import annotations

import argparse
from pathlib import Path

from finetune.components import door, tables_training
from finetune.tabular import keeping, tables, words
from finetune.tabular.problems import Problem


def main(given: argparse.Namespace) -> None:
    """Train and keep."""
    problem = Problem(task="classification", targets=(given.target,))
    held_out = tables.read(given.validation) if given.validation else None
    trained = words.train(tables.read(given.train), problem, given.text, strength=given.strength, held_out=held_out)
    tables_training.tell(trained, {"strength": given.strength}, seen=held_out is None)
    keeping.keep(trained, given.model)


if __name__ == "__main__":
    parser = door.options(__doc__)
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--validation", type=Path)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--target", required=True)
    parser.add_argument("--text", default="text", help="the column that holds the texts")
    parser.add_argument("--strength", type=float, default=4.0, help="how freely the line follows the rows")
    door.start(main, parser)

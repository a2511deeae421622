"""Train a ranking: the rows of each group in order, by LightGBM or XGBoost."""

from __future__ import annotations

import argparse

from finetune.components import door, tables_training
from workspace.errors import Invalid


def main(given: argparse.Namespace) -> None:
    """Train by the way that is named."""
    if given.way not in ("lightgbm", "xgboost"):
        raise Invalid(f"no way of ranking {given.way!r}", hint="lightgbm or xgboost")
    tables_training.run(given, given.way, {"n_estimators": given.trees})


if __name__ == "__main__":
    parser = door.options(__doc__)
    door.problem_options(parser, task="ranking")
    parser.add_argument("--group", required=True, help="the column that says which rows belong together")
    parser.add_argument("--way", default="lightgbm")
    parser.add_argument("--trees", type=int, default=200)
    door.start(main, parser)

"""Train LightGBM's boosted trees."""

from __future__ import annotations

from finetune.components import door, tables_training

if __name__ == "__main__":
    parser = door.options(__doc__)
    door.problem_options(parser)
    parser.add_argument("--trees", type=int, default=200)
    parser.add_argument("--learning-rate", type=float, default=0.05)
    parser.add_argument("--leaves", type=int, default=31)
    door.start(
        lambda given: tables_training.run(
            given, "lightgbm",
            {"n_estimators": given.trees, "learning_rate": given.learning_rate, "num_leaves": given.leaves},
        ),
        parser,
    )  # fmt: skip

"""Train XGBoost's boosted trees."""

from __future__ import annotations

from finetune.components import door, tables_training

if __name__ == "__main__":
    parser = door.options(__doc__)
    door.problem_options(parser)
    parser.add_argument("--trees", type=int, default=200)
    parser.add_argument("--learning-rate", type=float, default=0.1)
    parser.add_argument("--depth", type=int, default=6)
    door.start(
        lambda given: tables_training.run(
            given, "xgboost",
            {"n_estimators": given.trees, "learning_rate": given.learning_rate, "max_depth": given.depth},
        ),
        parser,
    )  # fmt: skip

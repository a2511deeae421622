"""Train one of scikit-learn's: linear, tree, forest, extra_trees, boosting, neighbours, svm or network."""

from __future__ import annotations

from finetune.components import door, tables_training

if __name__ == "__main__":
    parser = door.options(__doc__)
    door.problem_options(parser)
    parser.add_argument("--algorithm", default="linear")
    door.start(lambda given: tables_training.run(given, "sklearn", {"algorithm": given.algorithm}), parser)

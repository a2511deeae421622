"""Missing values get one: the middle of numbers, the most frequent of words."""

from __future__ import annotations

from finetune.components import door, making_over
from finetune.tabular import columns

if __name__ == "__main__":
    door.start(
        lambda given: making_over.run(
            given, lambda table, leave: columns.fit_imputation(table, leave=leave), columns.impute
        ),
        making_over.options(__doc__),
    )

"""Words become numbers: a column for each (onehot) or a place (ordinal); dates become their parts."""

from __future__ import annotations

from finetune.components import door, making_over
from finetune.tabular import columns

if __name__ == "__main__":
    parser = making_over.options(__doc__)
    parser.add_argument("--how", default="onehot")
    parser.add_argument("--most", type=int, default=50, help="words of one column that count, the most frequent")
    door.start(
        lambda given: making_over.run(
            given,
            lambda table, leave: columns.fit_encoding(table, given.how, most=given.most, leave=leave),
            columns.encode,
        ),
        parser,
    )

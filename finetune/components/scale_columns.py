"""Numbers are told in steps from their middle: standard, range or robust."""

from __future__ import annotations

from finetune.components import door, making_over
from finetune.tabular import columns

if __name__ == "__main__":
    parser = making_over.options(__doc__)
    parser.add_argument("--how", default="standard")
    door.start(
        lambda given: making_over.run(
            given, lambda table, leave: columns.fit_scaling(table, given.how, leave=leave), columns.scale
        ),
        parser,
    )

"""Corrupt rows, rows that come twice and rows without a target are put aside, with the reason; the rest is kept."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from finetune.components import door
from finetune.tabular import tables
from workspace.errors import Invalid


def main(given: argparse.Namespace) -> None:
    """Write what is kept, and what was put aside."""
    corrupt: list[tuple[int, str]] = []
    table = tables.read(given.rows, rejected=corrupt)
    aside = [{"why": "corrupt", "line": line, "row": text} for line, text in corrupt]
    empty = [str(name) for name in table.columns if table[name].isna().all()]
    table = table.drop(columns=empty)
    reasons = {"empty": table.isna().all(axis=1), "twice": table.duplicated()}
    if given.target:
        tables.has(table, [given.target])
        reasons["no target"] = table[given.target].isna()
    gone = reasons["empty"]
    for why, rows in reasons.items():
        aside += [{"why": why, "row": row} for row in table[rows & ((why == "empty") | ~gone)].to_dict("records")]
        gone = gone | rows
    kept = table[~gone].reset_index(drop=True)
    if not len(kept):
        raise Invalid("no row is left", hint="see what was put aside, and why")
    door.put(kept, given.kept)
    given.rejected.mkdir(parents=True, exist_ok=True)
    with (given.rejected / "rows.jsonl").open("w") as file:
        file.writelines(f"{json.dumps(row, default=str)}\n" for row in aside)
    door.tell(f"kept: {len(kept):,} rows; put aside: {len(aside):,}")
    if empty:
        door.tell(f"empty columns: {', '.join(empty)}")
    door.log({"rows": len(kept), "rejected": len(aside)})


if __name__ == "__main__":
    parser = door.options(__doc__)
    parser.add_argument("--rows", type=Path, required=True)
    parser.add_argument("--target", default="")
    parser.add_argument("--kept", type=Path, required=True)
    parser.add_argument("--rejected", type=Path, required=True)
    door.start(main, parser)

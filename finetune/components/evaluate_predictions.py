"""Metrics of scored rows as JSON and in the run, and a page of pictures."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from finetune.components import door
from finetune.tabular import pages, scores, tables
from finetune.tabular.asking import CHANCE, PREDICTION
from finetune.tabular.problems import Problem


def main(given: argparse.Namespace) -> None:
    """Measure, and draw."""
    table = tables.read(given.scored)
    targets = door.listed(given.target)
    problem = Problem(task=given.task, targets=targets, group=given.group)
    said = [f"{PREDICTION} {name}" for name in targets] if problem.task == "multilabel" else [PREDICTION]
    tables.has(table, [*targets, *said])
    chances = sorted(name for name in table.columns if name.startswith(CHANCE))
    guessed = table[said].to_numpy() if problem.task == "multilabel" else table[PREDICTION].to_numpy()
    told = scores.measure(problem, table, guessed, table[chances].to_numpy() if chances else None)
    door.log(told)
    given.report.mkdir(parents=True, exist_ok=True)
    (given.report / "metrics.json").write_text(json.dumps(told, indent=1) + "\n")
    (given.report / "report.html").write_text(pages.page(problem, table, told), encoding="utf-8")


if __name__ == "__main__":
    parser = door.options(__doc__)
    parser.add_argument("--scored", type=Path, required=True)
    parser.add_argument("--target", required=True)
    parser.add_argument("--task", default="classification")
    parser.add_argument("--group", default="")
    parser.add_argument("--report", type=Path, required=True)
    door.start(main, parser)

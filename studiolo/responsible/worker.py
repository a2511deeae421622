"""The process that loads a model, to look at it or train it again: `python -m studiolo.responsible.worker FOLDER`."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas

from evals.statistics import intervals as statistics
from finetune.responsible import gate, groups, mitigation, page
from finetune.responsible import report as reports
from finetune.responsible.groups import Intervals
from finetune.tabular import asking, drawing, keeping, scores, tables
from finetune.tabular.problems import Problem
from studiolo.responsible.asks import HTML, JSON, SCORECARD
from workspace.errors import StudioloError

_DRAWS = 2000


def main(folder: Path) -> None:
    """Read what is asked, do it, and write the answer: an error of ours is an answer too."""
    try:
        answer = work(json.loads((folder / "ask.json").read_text()), folder)
    except StudioloError as error:
        answer = {"error": str(error), "hint": error.hint}
    (folder / "answer.json").write_text(json.dumps(answer))


def work(ask: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Make the report, or the mitigation; files go into the folder."""
    asked = asking.load(Path(ask["model"]), allow_pickle=ask["allow_pickle"])
    given: dict[str, Any] = {**ask["question"], "sensitive": tuple(ask["question"]["sensitive"])}
    question = reports.Question(**{**given, "fixed": tuple(given["fixed"])})
    table = tables.read(Path(ask["data"]))
    if ask["train"]:
        return _mitigated(ask, asked, question, table, folder)
    made = reports.make(asked, table, question, measured(), (ask["names"][0], ask["names"][1]))
    decision = gate.decide(made, gate.read(ask["rules"])) if ask["rules"] is not None else None
    told: dict[str, Any] = {"report": made.plain()}
    if decision is not None:
        told["gate"] = {"passed": decision.passed, "word": decision.word, "failures": decision.failures,
                        "warnings": decision.warnings}  # fmt: skip
    (folder / HTML).write_text(page.page(made, decision), encoding="utf-8")
    (folder / SCORECARD).write_text(page.scorecard(made, decision), encoding="utf-8")
    (folder / JSON).write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return told


def measured() -> Intervals:
    """Return how sure numbers are, by the statistics of evaluations: Wilson of rates, bootstrap of means."""

    def rate(passed: int, n: int) -> tuple[float, float]:
        found = statistics.wilson(passed, n)
        return found.low, found.high

    def mean(values: Sequence[float]) -> tuple[float, float]:
        found = statistics.bca(values, draws=_DRAWS)
        return found.low, found.high

    return Intervals(rate, mean)


def _mitigated(
    ask: dict[str, Any], asked: asking.Asked, question: reports.Question, table: pandas.DataFrame, folder: Path
) -> dict[str, Any]:
    """Train the model again and say both models' metrics and disparities on the same rows."""
    rows = tables.read(Path(ask["train"]))
    tables.has(rows, [question.target, *question.sensitive])
    rows = rows.dropna(subset=[question.target]).reset_index(drop=True)
    named = [groups.banded(rows[name]) for name in question.sensitive]
    together = named[0].str.cat(named[1:], sep=" and ") if len(named) > 1 else named[0]
    plan = mitigation.Plan(**ask["plan"])
    model = mitigation.mitigate(asked.learner, asked.given(rows), rows[question.target], together, plan)
    keeping.keep_learner(model, asked.given(rows).head(200), folder / "model")
    problem = Problem(task="classification", targets=(question.target,))
    keeping.write_about(folder / "model", problem, mitigated=ask["plan"], was=ask["names"][0])
    after = asking.load(folder / "model")
    told = {"before": _told(asked, question, table), "after": _told(after, question, table), "plan": ask["plan"]}
    parts = [f"<h1>{ask['names'][0]}, before and after</h1>", page.comparison(told["before"], told["after"])]
    (folder / "comparison.html").write_text(drawing.page("before and after", parts), encoding="utf-8")
    return told


def _told(asked: asking.Asked, question: reports.Question, table: pandas.DataFrame) -> dict[str, float | None]:
    table = table.dropna(subset=[question.target]).reset_index(drop=True)
    answers, _ = reports.answers_of(asked, table, question)
    problem = Problem(task="classification", targets=(question.target,))
    found = scores.measure(problem, table, answers.said.to_numpy(), asked.chances(table))
    for sensitive in groups.measure(answers, table[[*question.sensitive]], measured()):
        for each in sensitive.disparities:
            found[f"{each.metric}_difference by {sensitive.column}"] = each.difference
    return {name: None if math.isnan(value) else value for name, value in found.items()}


if __name__ == "__main__":
    main(Path(sys.argv[1]))

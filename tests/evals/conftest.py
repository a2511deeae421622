"""Scored samples, made from a string of marks: `+` passed, `-` failed, `e` the run had no answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from evals.compare import compare
from evals.reports.report import Fact, Report
from evals.samples import Sample, Score, row_id

Samples = tuple[Sample, ...]
Sampled = Callable[[str], Samples]
Reported = Callable[[Sequence[Sample], Sequence[Sample]], Report]


@pytest.fixture
def sampled() -> Sampled:
    def make(marks: str) -> Samples:
        return tuple(_sample(number, mark) for number, mark in enumerate(marks))

    return make


@pytest.fixture
def reported() -> Reported:
    def make(before: Sequence[Sample], after: Sequence[Sample]) -> Report:
        return Report(
            name="demo",
            before="plain",
            after="shown",
            comparison=compare(before, after),
            facts=(Fact("flow", "demo:1", "demo:2"), Fact("data", "questions:1", "questions:1")),
            lineage="report demo",
            run_id="ab" * 16,
            written="1 May 2026",
            data_file="questions.jsonl",
        )

    return make


def _sample(number: int, mark: str) -> Sample:
    inputs = {"question": f"What is {number} + {number}?"}
    if mark == "e":
        error = "503: the model is loading"
        return Sample(
            number=number, row=row_id(inputs), inputs=inputs, error=error, scores={"exact": Score(error=error)}
        )
    passed = mark == "+"
    return Sample(
        number=number,
        row=row_id(inputs),
        inputs=inputs,
        name=f"q{number:02}",
        answer=str(2 * number) if passed else "no idea",
        expected=str(2 * number),
        scores={"exact": Score(value=float(passed))},
    )

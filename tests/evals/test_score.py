from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from evals import samples, scorers
from evals.samples import Sample, Score
from evals.score import Finished, SampleScored, score, summarize
from evals.tasks.task import Limits
from workspace import RunRecord, Workspace
from workspace.errors import Invalid, NotFound

Answered = Callable[..., RunRecord]
EXACT = {"exact": scorers.get("exact")}


def finished(workspace: Workspace, run: RunRecord, **options: Any) -> Finished:
    *_, last = score(workspace, run, EXACT, **{"expected": "answer", **options})
    assert isinstance(last, Finished)
    return last


def test_every_line_of_a_flow_run_gets_a_score_and_the_run_an_interval(
    workspace: Workspace, answered: Answered
) -> None:
    run = answered("mine", wrong={1, 4})
    result = finished(workspace, run, name="scored")
    assert (result.rows, result.errors) == (10, 0)
    assert result.metrics["exact"].estimate == 0.8
    record = workspace.runs.get("scored")
    assert record.kind == "eval"
    assert record.metrics["exact"] == 0.8
    assert record.metrics["exact.low"] < 0.8 < record.metrics["exact.high"]


def test_the_log_holds_what_was_asked_answered_and_expected(workspace: Workspace, answered: Answered) -> None:
    result = finished(workspace, answered("mine", wrong={1}))
    log = samples.read(workspace.runs.get(result.run_id).directory)
    assert [sample.number for sample in log] == [*range(10)]
    assert (log[1].name, log[1].answer, log[1].expected) == ("q1", "wrong", "A1")
    assert log[1].inputs == {"question": "Q1"}
    assert log[1].scores["exact"].value == 0.0


def test_a_line_that_failed_is_an_error_and_no_wrong_answer(workspace: Workspace, answered: Answered) -> None:
    result = finished(workspace, answered("mine", broken={2}))
    assert result.errors == 1
    assert result.metrics["exact"].estimate == 1.0
    log = samples.read(workspace.runs.get(result.run_id).directory)
    assert "cannot answer" in str(log[2].error)


def test_a_scoring_descends_from_the_flow_run_and_its_data(workspace: Workspace, answered: Answered) -> None:
    run = answered("mine")
    result = finished(workspace, run)
    sources = {edge.source for edge in workspace.lineage.upstream(f"run:{result.run_id}", depth=1)}
    assert run.ref in sources
    assert any(source.startswith("data:") for source in sources)


@pytest.mark.parametrize("reference", ["answer", "${data.answer}"])
def test_the_expected_column_may_be_a_name_or_a_reference(
    workspace: Workspace, answered: Answered, reference: str
) -> None:
    assert finished(workspace, answered("mine"), expected=reference).metrics["exact"].estimate == 1.0


def test_a_column_that_no_row_has_is_refused_with_a_suggestion(workspace: Workspace, answered: Answered) -> None:
    with pytest.raises(NotFound) as caught:
        finished(workspace, answered("mine"), expected="anser")
    assert caught.value.hint == "did you mean 'answer'?"


def test_a_scorer_that_raises_spoils_its_row_only(workspace: Workspace, answered: Answered) -> None:
    def fussy(sample: Sample) -> Score:
        if sample.number == 3:
            raise ZeroDivisionError("no")
        return Score(value=1.0)

    *_, last = score(workspace, answered("mine"), {"fussy": fussy})
    assert isinstance(last, Finished)
    assert (last.errors, last.metrics["fussy"].estimate) == (1, 1.0)


def test_a_scorer_that_never_ends_is_an_error_of_its_row(workspace: Workspace, answered: Answered) -> None:
    ended = threading.Event()

    def stuck(sample: Sample) -> Score:
        if sample.number == 3:
            ended.wait()
        return Score(value=1.0)

    *_, last = score(workspace, answered("mine"), {"stuck": stuck}, limits=Limits(scorer_seconds=0.5))
    ended.set()
    assert isinstance(last, Finished)
    assert (last.errors, last.metrics["stuck"].estimate) == (1, 1.0)


def test_a_scoring_in_which_no_row_could_be_scored_has_failed(workspace: Workspace, answered: Answered) -> None:
    def silent(_: Sample) -> Score:
        return Score(error="nothing to say")

    *_, last = score(workspace, answered("mine"), {"silent": silent})
    assert isinstance(last, Finished)
    assert workspace.runs.get(last.run_id).status == "FAILED"


def test_what_is_scored_is_kept_when_the_caller_stops_reading(workspace: Workspace, answered: Answered) -> None:
    events = score(workspace, answered("mine"), EXACT, expected="answer", name="stopped")
    assert isinstance(next(events), SampleScored)
    events.close()  # type: ignore[attr-defined]
    record = workspace.runs.get("stopped")
    assert record.status == "KILLED"
    assert len(samples.read(record.directory)) >= 1


def test_only_flow_runs_are_scored(workspace: Workspace, answered: Answered) -> None:
    scoring = workspace.runs.get(finished(workspace, answered("mine")).run_id)
    with pytest.raises(Invalid, match="no flow run"):
        finished(workspace, scoring)


def test_passes_get_a_wilson_interval_and_grades_a_bootstrap_one() -> None:
    made = [
        Sample(number=n, row=str(n), inputs={}, scores={"a": Score(value=float(n % 2)), "b": Score(value=n / 10)})
        for n in range(10)
    ]
    metrics = summarize(made)
    assert metrics["a"].method == "Wilson"
    assert metrics["b"].method.startswith("BCa")

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import flows
from evals import runner, samples, scorers
from evals.runner import Asked, Finished
from evals.scorers.applied import Applied
from evals.scorers.flow import FlowScorer
from evals.targets.flow import FlowTarget
from evals.tasks import Task
from flows.connections import DEFAULT, Connection
from flows.crew import Conditions
from tests.evals.answering import answering
from workspace import RunRecord, Workspace
from workspace.errors import Invalid

JUDGE = """\
inputs:
  groundtruth: {type: string}
  prediction: {type: string}
outputs:
  grade: {type: string, reference: "${grade.output}"}
nodes:
- name: grade
  type: python
  source: {type: code, path: grade.py}
  inputs: {groundtruth: "${inputs.groundtruth}", prediction: "${inputs.prediction}"}
- name: all
  type: python
  aggregation: true
  source: {type: code, path: all.py}
  inputs: {grades: "${grade.output}"}
"""
GRADE = """\
from promptflow.core import tool
@tool
def grade(groundtruth: str, prediction: str) -> str:
    return "Correct" if groundtruth == prediction else "Incorrect"
"""
ALL = """\
from promptflow.core import log_metric, tool
@tool
def total(grades: list) -> float:
    share = grades.count("Correct") / len(grades)
    log_metric("accuracy", share)
    return share
"""
PROMPTY = """\
---
name: add
model:
  api: chat
  configuration: {type: openai}
  parameters: {max_tokens: 8}
inputs:
  q: {type: string}
---
user:
{{q}}
"""
ROWS = [{"id": f"q{n}", "question": f"Q{n}", "expected": f"A{n}"} for n in range(10)]


@pytest.fixture
def folder(tmp_path: Path, answered: Callable[..., RunRecord]) -> Path:
    """A flow that answers Q1 as A1, but wrongly at 3 and not at all at 5."""
    answered("mine", wrong={3}, broken={5})
    return tmp_path / "mine"


def test_a_flow_answers_and_keeps_its_lines_as_the_trace(workspace: Workspace, folder: Path) -> None:
    target = FlowTarget(flow=flows.load(folder), connections={}, conditions=Conditions(), epochs=2)
    task = Task(name="flow", data=ROWS, epochs=2, scorers=("exact",))
    exact = Applied("exact", scorers.get("exact"), quick=True)
    *_, last = runner.run(workspace, task, target, [exact], Asked())
    assert isinstance(last, Finished)
    record = workspace.runs.get(last.run_id)
    assert (last.samples, last.errors, last.metrics[0].interval.estimate) == (20, 2, 8 / 9)
    assert "cannot answer Q5" in str(samples.read(record.directory)[10].error)
    lines = list(flows.lines(record))
    assert [line.number for line in lines] == [*range(20)]
    assert lines[2].nodes[0].name == "say"


def test_a_prompty_is_a_flow_that_answers(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "add.prompty").write_text(PROMPTY)
    rows = [{"q": f"{number}+{number}=", "expected": str(2 * number)} for number in range(5)]
    task = Task(name="prompty", data=rows, scorers=("exact",))
    exact = Applied("exact", scorers.get("exact"), quick=True)
    with answering() as server:
        connections = {DEFAULT: Connection.to_gateway(server.url, "none", model="m")}
        target = FlowTarget(flow=flows.load(tmp_path / "add.prompty"), connections=connections, conditions=Conditions())
        *_, last = runner.run(workspace, task, target, [exact], Asked())
    assert isinstance(last, Finished)
    assert (last.samples, last.errors, last.metrics[0].interval.estimate) == (5, 0, 1.0)
    assert samples.read(workspace.runs.get(last.run_id).directory)[2].tokens == (5, 1)


def test_an_evaluation_flow_of_prompt_flow_scores_unchanged(workspace: Workspace, folder: Path, tmp_path: Path) -> None:
    judge = tmp_path / "judge"
    judge.mkdir()
    for name, text in (("flow.dag.yaml", JUDGE), ("grade.py", GRADE), ("all.py", ALL)):
        (judge / name).write_text(text)
    scorer = FlowScorer(flow=flows.load(judge), connections={}, mapping={"prediction": "${run.outputs.answer}"})
    target = FlowTarget(flow=flows.load(folder), connections={}, conditions=Conditions())
    task = Task(name="flow", data=ROWS, scorers=("judge",))
    try:
        *_, last = runner.run(workspace, task, target, [Applied("judge", scorer)], Asked())
    finally:
        scorer.close()
    assert isinstance(last, Finished)
    assert (last.errors, last.metrics[0].interval.estimate) == (1, 8 / 9)
    assert workspace.runs.get(last.run_id).metrics["judge.accuracy"] == pytest.approx(8 / 9)


def test_a_mapping_of_an_input_that_the_flow_has_not_is_refused(folder: Path) -> None:
    with pytest.raises(Invalid, match="no input 'questoin'") as caught:
        FlowScorer(flow=flows.load(folder), connections={}, mapping={"questoin": "x"})
    assert caught.value.hint == "did you mean 'question'?"

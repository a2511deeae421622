"""A run that waits for a person: it pauses, keeps what was done, and goes on with what was decided."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import flows
from flows import approvals
from flows.approvals import Decision
from workspace import RunRecord, Workspace
from workspace.errors import Conflict

FLOW = """\
inputs:
  amount: {type: int}
outputs:
  paid: {type: object, reference: "${pay.output}"}
nodes:
- {name: draft, type: python, source: {type: code, path: draft.py}, inputs: {amount: "${inputs.amount}"}}
- name: agree
  type: approval
  inputs: {question: "pay this?", letter: "${draft.output}"}
  activate: {when: "${draft.output.large}", is: true, else: {approved: true}}
- name: pay
  type: python
  source: {type: code, path: pay.py}
  inputs: {agreed: "${agree.output.approved}", letter: "${draft.output}"}
- {name: total, type: python, aggregation: true, source: {type: code, path: total.py}, inputs: {paid: "${pay.output}"}}
"""
TOOLS = {
    "draft": "def draft(amount: int):\n    print('drafted')\n    return {'amount': amount, 'large': amount > 100}",
    "pay": "def pay(agreed: bool, letter: dict):\n    return letter['amount'] if agreed else 0",
    "total": "def total(paid: list):\n    log_metric('paid', sum(paid))",
}


@pytest.fixture
def paused(workspace: Workspace, make_flow: Callable[..., Path], tmp_path: Path) -> Callable[..., flows.Finished]:
    """Run over amounts of 50, 500 and 1000, or go on with that run."""
    data = tmp_path / "amounts.jsonl"
    data.write_text("".join(json.dumps({"amount": amount}) + "\n" for amount in (50, 500, 1000)))
    folder = make_flow(FLOW, **TOOLS)

    def run(resume: str | None = None) -> flows.Finished:
        asked = flows.Batch(data=data, name=None if resume else "payments", resume=resume)
        *_, done = flows.run(workspace, flows.load(folder), asked)
        assert isinstance(done, flows.Finished)
        return done

    return run


def record(workspace: Workspace) -> RunRecord:
    return workspace.runs.get("payments")


def test_the_run_pauses_and_says_what_it_waits_for(workspace: Workspace, paused: Callable[..., Any]) -> None:
    done = paused()
    assert (done.completed, done.waiting, done.metrics) == (1, 2, {})
    assert record(workspace).status == "PAUSED"
    asked = approvals.waiting(record(workspace).directory)
    assert [(each.line, each.node, each.shown["letter"]["amount"]) for each in asked] == [
        (1, "agree", 500), (2, "agree", 1000),
    ]  # fmt: skip


def test_it_goes_on_with_what_was_decided_and_runs_nothing_twice(
    workspace: Workspace, paused: Callable[..., Any]
) -> None:
    paused()
    folder = record(workspace).directory
    approvals.decide(folder, Decision(node="agree", approved=False, line=2, comment="too much"))
    approvals.decide(folder, Decision(node="agree", approved=True))
    done = paused(resume="payments")
    assert (done.completed, done.waiting, done.metrics) == (3, 0, {"paid": 550.0 + 1000.0})
    assert record(workspace).status == "FINISHED"
    assert (folder / "worker.log").read_text().count("drafted") == 3


def test_the_last_word_on_a_line_counts(workspace: Workspace, paused: Callable[..., Any]) -> None:
    paused()
    folder = record(workspace).directory
    assert approvals.decide(folder, Decision(node="agree", approved=True, line=1)) == 1
    done = paused(resume="payments")
    assert (done.completed, done.waiting) == (2, 1)
    assert record(workspace).status == "PAUSED"
    approvals.decide(folder, Decision(node="agree", approved=False))
    assert paused(resume="payments").metrics == {"paid": 550.0}


def test_a_decision_for_which_nothing_waits_is_refused(workspace: Workspace, paused: Callable[..., Any]) -> None:
    paused()
    with pytest.raises(Conflict) as caught:
        approvals.decide(record(workspace).directory, Decision(node="agre", approved=True))
    assert caught.value.hint == "did you mean 'agree'?"
    with pytest.raises(Conflict):
        approvals.decide(record(workspace).directory, Decision(node="agree", approved=True, line=0))

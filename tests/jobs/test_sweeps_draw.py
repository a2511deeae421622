"""The page of a sweep: a line and a dot for each trial, and what trials say is text."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.files import read_job
from jobs.files.sweep import SweepJob
from jobs.submit import wait
from jobs.sweeps.draw import page, page_of
from jobs.sweeps.importance import importance
from jobs.sweeps.trials import Trial
from tests.jobs.conftest import LONG, Submit
from workspace.errors import Invalid
from workspace.home import Workspace

JOB = """
type: sweep
trial: {command: "true", environment: azureml:sklearn-1.5@latest}
search_space:
  x: {type: uniform, min_value: 0, max_value: 1}
  kind: {type: choice, values: [a, "<script>alert(1)</script>"]}
sampling_algorithm: random
objective: {goal: minimize, primary_metric: loss}
limits: {max_total_trials: 9}
"""


@pytest.fixture
def job(tmp_path: Path) -> SweepJob:
    (tmp_path / "sweep.yml").write_text(JOB)
    found = read_job(tmp_path / "sweep.yml")
    assert isinstance(found, SweepJob)
    return found


def trial(number: int, kind: str, *losses: float, status: str = "Completed") -> Trial:
    made = Trial(number, {"x": number / 10, "kind": kind}, status=status)
    for loss in losses:
        made.hear(loss)
    return made


def test_each_trial_that_logged_has_a_dot_and_a_line_and_the_best_is_marked(job: SweepJob) -> None:
    trials = [
        trial(0, "a", 3.0, 2.0),
        trial(1, "b", 1.0),
        trial(2, "b", status="Failed"),
        trial(3, "a", 0.5, status="Canceled"),
    ]
    text = page(job, trials, name="tune")
    assert text.count("<circle") == 3
    assert text.count("<polyline") == 4  # and the line of the best so far
    assert "the best is trial 1 with loss 1" in text
    assert '<tr class="best"><td>1</td>' in text


def test_what_trials_say_is_text_and_nothing_is_fetched(job: SweepJob) -> None:
    text = page(job, [trial(0, "<script>alert(1)</script>", 1.0)], name="<b>tune</b>")
    assert "<script" not in text
    assert "<b>" not in text
    assert "http" not in text
    assert "&lt;script&gt;" in text


def test_a_sweep_that_has_not_begun_has_a_page_too(job: SweepJob) -> None:
    nothing = page(job, [], name="tune")
    assert "No trial has logged a number yet" in nothing
    assert "No trial has logged a number yet" in page(job, [trial(0, "a", float("nan"))], name="tune")


def test_a_job_that_is_no_sweep_has_no_such_page(workspace: Workspace, run: Submit) -> None:
    wait(workspace, run("true", "name: plain\n").name, seconds=LONG)
    with pytest.raises(Invalid, match="is no sweep"):
        page_of(workspace, "plain")


def test_what_mattered_is_told_in_shares_that_add_up(job: SweepJob) -> None:
    trials = [trial(number, "ab"[number % 2], 5.0 * number + number % 2) for number in range(12)]
    shares = importance(trials, maximize=False)
    assert [*shares] == ["x", "kind"]
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["x"] > 0.9
    assert "What mattered" in page(job, trials, name="tune", mattered=shares)
    assert importance(trials[:3], maximize=False) == {}
    assert importance([trial(number, "a", 1.0) for number in range(9)], maximize=False) == {}

"""Steps that are used again: where nothing has changed, never where something has, and the reason is said."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from jobs import records
from jobs.create import create
from jobs.files import job_of
from jobs.folders import job_folder
from jobs.submit import wait
from tests.jobs.conftest import LONG
from tests.jobs.pipelines import Run, log_of, output, statuses
from tests.jobs.pipelines import cache as cache
from tests.jobs.pipelines import run_pipeline as run_pipeline
from workspace.home import Workspace

TWO = """
type: pipeline
name: {name}
experiment_name: two
inputs: {{word: {word}}}
settings: {{force_rerun: {force}}}
jobs:
  first:
    code: src
    command: sh say.sh ${{{{inputs.word}}}} > ${{{{outputs.said}}}}/a; echo ran >> {trace}
    inputs: {{word: "${{{{parent.inputs.word}}}}"}}
    outputs: {{said: {{}}}}
  second:
    command: cat ${{{{inputs.said}}}}/a {more} > ${{{{outputs.end}}}}/b; echo ran >> {trace}
    inputs: {{said: "${{{{parent.jobs.first.outputs.said}}}}"}}
    outputs: {{end: "${{{{parent.outputs.end}}}}"}}
outputs: {{end: {{}}}}
"""


@pytest.fixture
def two(run_pipeline: Run, tmp_path: Path) -> Run:
    """Run two steps, the second of which reads what the first says."""
    (tmp_path / "src").mkdir()
    (tmp_path / "src/say.sh").write_text("echo $1\n")

    def ran(name: str, *, word: str = "x", force: str = "false", more: str = "") -> object:
        return run_pipeline(TWO.format(name=name, word=word, force=force, more=more, trace=tmp_path / "trace"))

    return ran  # type: ignore[return-value]


def test_unchanged_steps_are_not_run_again_and_their_outputs_are_there(
    workspace: Workspace, two: Run, tmp_path: Path
) -> None:
    two("p1")
    two("p2")
    assert (tmp_path / "trace").read_text() == "ran\nran\n"
    assert statuses(workspace, "p2") == {"first": "Completed", "second": "Completed"}
    assert output(workspace, "p2", "end", "b") == output(workspace, "p2_second", "end", "b") == "x\n"
    log = log_of(workspace, "p2")
    assert "step 'first' is reused from job p1_first: its code, command, inputs and environment are the same" in log
    assert "step 'second' is reused from job p1_second: its command, inputs and environment are the same" in log
    child = records.get(workspace, "p2_first")
    assert child.properties["azureml.isreused"] == "true"
    assert child.properties["azureml.reusedrunid"] == records.get(workspace, "p1_first").run_id


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"word": "y"}, "step 'first' runs as job p2_first: input word changed"),
        pytest.param(
            {"force": "true"}, "step 'first' runs as job p2_first: force_rerun is set", marks=pytest.mark.slow
        ),
        ({"code": "echo $1 $1\n"}, "step 'first' runs as job p2_first: code changed"),
    ],
)
def test_a_changed_step_and_those_after_it_run_and_the_reason_is_said(
    workspace: Workspace, two: Run, tmp_path: Path, change: dict[str, str], reason: str
) -> None:
    two("p1")
    if code := change.pop("code", ""):
        (tmp_path / "src/say.sh").write_text(code)
    two("p2", **change)
    log = log_of(workspace, "p2")
    assert reason in log
    assert (tmp_path / "trace").read_text() == "ran\n" * 4
    if "force" not in change:
        assert "step 'second' runs as job p2_second: input said changed" in log


@pytest.mark.slow
def test_a_later_step_alone_runs_where_only_it_has_changed(workspace: Workspace, two: Run, tmp_path: Path) -> None:
    two("p1")
    two("p2", more="&& true")
    log = log_of(workspace, "p2")
    assert "step 'first' is reused from job p1_first" in log
    assert "step 'second' runs as job p2_second: command changed" in log
    assert (tmp_path / "trace").read_text() == "ran\n" * 3


@pytest.mark.slow
def test_what_is_reused_a_second_time_comes_from_the_one_that_ran(workspace: Workspace, two: Run) -> None:
    two("p1")
    two("p2")
    two("p3")
    assert "is reused from job p1_first" in log_of(workspace, "p3")


@pytest.mark.slow
def test_a_step_whose_outputs_are_gone_runs_again(workspace: Workspace, two: Run, tmp_path: Path) -> None:
    two("p1")
    shutil.rmtree(job_folder(workspace.home, "p1_first") / "outputs")
    two("p2")
    assert "step 'first' runs as job p2_first: what job p1_first left is not there any more" in log_of(workspace, "p2")
    assert (tmp_path / "trace").read_text() == "ran\n" * 3  # it says the same again: the second step need not run


def test_a_step_that_failed_is_never_reused(workspace: Workspace, run_pipeline: Run, tmp_path: Path) -> None:
    text = (
        f"type: pipeline\nname: NAME\nexperiment_name: e\njobs:\n  a: {{command: 'echo ran >> {tmp_path}/t; exit 1'}}\n"
    )
    run_pipeline(text.replace("NAME", "f1"), status="Failed")
    run_pipeline(text.replace("NAME", "f2"), status="Failed")
    assert (tmp_path / "t").read_text() == "ran\nran\n"
    assert "runs as job f2_a: it has not completed before" in log_of(workspace, "f2")


def test_a_component_that_is_not_deterministic_runs_every_time(
    workspace: Workspace, run_pipeline: Run, tmp_path: Path
) -> None:
    (tmp_path / "dice.yml").write_text(
        "name: dice\ntype: command\nis_deterministic: false\n"
        "environment: {image: ubuntu, conda_file: {dependencies: [{pip: [--no-index]}]}}\n"
        f"command: echo ran >> {tmp_path}/trace\n"
    )
    text = "type: pipeline\nname: NAME\njobs:\n  a: {type: command, component: dice.yml}\n"
    run_pipeline(text.replace("NAME", "d1"))
    run_pipeline(text.replace("NAME", "d2"))
    assert (tmp_path / "trace").read_text() == "ran\nran\n"
    assert "runs as job d2_a: its component is not deterministic" in log_of(workspace, "d2")


def test_steps_of_a_pipeline_in_a_pipeline_are_used_again(
    workspace: Workspace, run_pipeline: Run, tmp_path: Path
) -> None:
    (tmp_path / "inner.yml").write_text(
        "name: inner\ntype: pipeline\noutputs: {o: {type: uri_folder}}\njobs:\n"
        f"  a: {{command: 'echo ran >> {tmp_path}/trace; echo x > ${{{{outputs.o}}}}/x', "
        "outputs: {o: '${{parent.outputs.o}}'}}\n"
    )
    text = "type: pipeline\nname: NAME\nexperiment_name: n\njobs:\n  in: {type: pipeline, component: inner.yml}\n"
    run_pipeline(text.replace("NAME", "n1"))
    run_pipeline(text.replace("NAME", "n2"))
    assert (tmp_path / "trace").read_text() == "ran\n"
    assert "step 'in' is reused from job n1_in" in log_of(workspace, "n2")


@pytest.mark.slow
def test_pipelines_run_and_are_reused_in_sqlite_and_in_postgresql(any_workspace: Workspace, tmp_path: Path) -> None:
    jobs = {
        "a": {"command": "echo x > ${{outputs.o}}/x", "outputs": {"o": {}}},
        "b": {"command": "cat ${{inputs.o}}/x", "inputs": {"o": "${{parent.jobs.a.outputs.o}}"}},
    }
    for name in ("q1", "q2"):
        job = job_of({"type": "pipeline", "name": name, "experiment_name": "q", "jobs": jobs}, tmp_path)
        create(any_workspace, job)
        assert wait(any_workspace, name, seconds=LONG).status == "Completed"
    assert "step 'b' is reused from job q1_b" in log_of(any_workspace, "q2")

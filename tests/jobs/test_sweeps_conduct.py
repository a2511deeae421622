"""Sweeps from their file to the best trial's outputs: trials, limits, policies, kills."""

from __future__ import annotations

import json
import os
import signal
from itertools import pairwise
from pathlib import Path

from jobs import records
from jobs.folders import attempt_folder, outputs_of
from jobs.submit import cancel, stream, wait
from jobs.sweeps.draw import page_of
from jobs.sweeps.trials import known
from tests.jobs.conftest import LONG, until
from tests.jobs.sweeping import plain_python as plain_python
from tests.jobs.sweeping import sweep
from workspace.home import Workspace

OUTPUT = "outputs:\n  model:\n    type: uri_folder\n    name: tuned\n    version: 3\n"
SAVES = 'log(float(sys.argv[1]))\nopen(os.environ["AZURE_ML_OUTPUT_model"] + "/x", "w").write(sys.argv[1])\n'


def said(workspace: Workspace, name: str) -> str:
    return b"".join(stream(workspace, name)).decode()


def test_the_outputs_of_the_best_trial_become_those_of_the_sweep(workspace: Workspace, tmp_path: Path) -> None:
    sweep(workspace, tmp_path, SAVES, rest=OUTPUT)
    job = wait(workspace, "tune", seconds=LONG)
    assert job.status == "Completed", said(workspace, "tune")
    trials = records.list_jobs(workspace, parent="tune")
    assert sorted(trial.name for trial in trials) == ["tune_0", "tune_1", "tune_2"]
    best = next(trial for trial in trials if trial.name == "tune_2")
    assert job.tags["best_child_run_id"] == best.run_id
    assert (outputs_of(workspace.home, "tune") / "model" / "x").read_text() == "3"
    asset = workspace.assets.get("data", "tuned:3")
    assert (workspace.assets.path(asset) / "x").read_text() == "3"
    run = workspace.runs.get(str(best.run_id))
    assert run.metrics["score"] == 3.0
    assert run.params["x"] == "3"
    assert workspace.runs.get(str(job.run_id)).metrics["score"] == 3.0
    page = workspace.home / "runs" / str(job.run_id) / "artifacts" / "outputs" / "sweep.html"
    assert "<svg" in page.read_text()
    assert page_of(workspace, "tune").count("<tr") == 4


def test_grid_random_sobol_and_bayesian_sweeps_run_as_many_trials_as_they_may(
    workspace: Workspace, tmp_path: Path
) -> None:
    space = "x: {type: uniform, min_value: -5, max_value: 5}\n  n: {type: choice, values: [a, b]}"
    for sampling in ("random", "{type: random, rule: sobol, seed: 3}", "bayesian"):
        name = f"s{len(sampling)}"
        sweep(
            workspace, tmp_path, "log(float(sys.argv[1]) ** 2)", name=name, sampling=sampling, space=space,
            total=4, goal="minimize",
        )  # fmt: skip
        job = wait(workspace, name, seconds=LONG)
        assert job.status == "Completed", said(workspace, name)
        trials = known(workspace, name, "score")
        assert [trial.status for trial in trials] == ["Completed"] * 4
        best = min(trials, key=lambda trial: trial.history[0])
        assert job.tags["best_child_run_id"] == best.run_id
        assert best.history == [float(str(best.values["x"])) ** 2]


def test_no_more_trials_run_at_once_than_may(workspace: Workspace, tmp_path: Path) -> None:
    script = "log(1)\ntime.sleep(0.3)"
    sweep(workspace, tmp_path, script, space="x: {type: choice, values: [1, 2, 3, 4]}", at_once=1)
    wait(workspace, "tune", seconds=LONG)
    trials = sorted(records.list_jobs(workspace, parent="tune"), key=lambda job: job.name)
    assert len(trials) == 4
    assert all(
        before.ended_at and after.started_at and before.ended_at <= after.started_at
        for before, after in pairwise(trials)
    )


def test_failed_trials_are_told_and_the_best_of_the_others_counts(workspace: Workspace, tmp_path: Path) -> None:
    script = "if sys.argv[1] == '3': sys.exit(4)\nif sys.argv[1] == '2': sys.exit(0)\nlog(7)\nlog(1, 'other')"
    sweep(workspace, tmp_path, script)
    job = wait(workspace, "tune", seconds=LONG)
    told = said(workspace, "tune")
    assert job.status == "Completed", told
    assert "trial 2 Failed: no score" in told
    assert "trial 1 Completed: no score (it has logged nothing)" in told
    assert job.tags["studiolo.best_trial"] == "tune_0"


def test_a_sweep_none_of_whose_trials_logs_the_metric_fails_and_says_so(workspace: Workspace, tmp_path: Path) -> None:
    sweep(workspace, tmp_path, "log(1, 'other')", space="x: {type: choice, values: [1]}")
    job = wait(workspace, "tune", seconds=LONG)
    assert job.status == "Failed"
    assert "none of 1 trials has completed with a value of 'score'" in str(job.error)
    assert "it has logged other" in said(workspace, "tune")


def test_bandit_ends_a_trial_while_it_runs(workspace: Workspace, tmp_path: Path) -> None:
    # The good one logs 10 first; the bad one begins to log when that is heard, and would go on for a minute.
    script = """
good = sys.argv[1] == "10"
for step in range(1 if good else 200):
    if not good:
        time.sleep(0.3)
    log(float(sys.argv[1]), step=step)
"""
    policy = "early_termination: {type: bandit, slack_factor: 0.2, evaluation_interval: 1, delay_evaluation: 2}\n"
    sweep(workspace, tmp_path, script, space="x: {type: choice, values: [10, 1]}", rest=policy)
    job = wait(workspace, "tune", seconds=LONG)
    assert job.status == "Completed", said(workspace, "tune")
    good, bad = known(workspace, "tune", "score")
    assert (good.status, bad.status) == ("Completed", "Canceled")
    assert bad.cut.startswith("1 is worse than 8.33333, what bandit leaves of the best, 10, at interval ")
    assert 2 <= len(bad.history) < 100


def test_a_trial_and_a_sweep_end_when_their_time_is_over(workspace: Workspace, tmp_path: Path) -> None:
    limits = "  trial_timeout: 1\n"
    script = "log(1)\ntime.sleep(60 if sys.argv[1] == '2' else 0)"
    sweep(workspace, tmp_path, script, rest=limits)
    assert wait(workspace, "tune", seconds=LONG).status == "Completed", said(workspace, "tune")
    assert "trial 1 Failed: score 1 (it ran longer than its limit of 1 s)" in said(workspace, "tune")
    sweep(workspace, tmp_path, script, name="short", rest="  timeout: 3\n")
    assert wait(workspace, "short", seconds=LONG).status == "Completed", said(workspace, "short")
    assert "the sweep's limit of 3 s was over" in said(workspace, "short")


def test_cancelling_a_sweep_cancels_its_trials(workspace: Workspace, tmp_path: Path) -> None:
    sweep(workspace, tmp_path, "time.sleep(100)")
    until(lambda: [job for job in records.list_jobs(workspace, parent="tune") if job.status == "Running"])
    cancel(workspace, "tune")
    assert wait(workspace, "tune", seconds=LONG).status == "Canceled"
    assert {job.status for job in records.list_jobs(workspace, parent="tune")} == {"Canceled"}


def test_a_sweep_whose_process_was_killed_goes_on_with_the_trials_that_it_had(
    workspace: Workspace, tmp_path: Path
) -> None:
    tells = f"open({str(tmp_path / 'ran')!r}, 'a').write(sys.argv[1] + chr(10))"
    script = f"{tells}\ntime.sleep(0.3)\nlog(float(sys.argv[1]))"
    space = "x: {type: uniform, min_value: 0, max_value: 1}"
    sweep(workspace, tmp_path, script, sampling="bayesian", space=space, total=8)
    until(lambda: len(known(workspace, "tune", "score")) >= 4)
    running = attempt_folder(workspace.home, "tune", 1).running
    os.kill(json.loads(running.read_text())["pid"], signal.SIGKILL)
    before = [(trial.values, trial.run_id) for trial in known(workspace, "tune", "score") if trial.run_id]
    job = wait(workspace, "tune", seconds=LONG)
    assert (job.status, job.attempt) == ("Completed", 2), said(workspace, "tune")
    trials = known(workspace, "tune", "score")
    assert [(trial.values, trial.run_id) for trial in trials][: len(before)] == before
    ran = (tmp_path / "ran").read_text().split()
    assert sorted(ran) == sorted(str(trial.values["x"]) for trial in trials)
    assert len(set(ran)) == 8


def test_what_stands_in_a_chosen_value_has_a_name_of_its_own(workspace: Workspace, tmp_path: Path) -> None:
    space = "x: {type: choice, values: [{kind: tree, depth: {type: choice, values: [2, 4]}}, {kind: line}]}"
    arguments = "${{search_space.x.kind}} $[[ --depth ${{search_space.x.depth}} ]]"
    script = "log(int(sys.argv[3]) if len(sys.argv) > 3 else 1)"
    sweep(workspace, tmp_path, script, space=space, arguments=arguments)
    job = wait(workspace, "tune", seconds=LONG)
    assert job.status == "Completed", said(workspace, "tune")
    assert [trial.history for trial in known(workspace, "tune", "score")] == [[2.0], [4.0], [1.0]]

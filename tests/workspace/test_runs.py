"""Runs say what happened, also when the process that conducts them does not live to say it."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workspace.errors import Conflict, Invalid, NotFound
from workspace.home import Workspace
from workspace.light_database import LightDatabase, Row
from workspace.run_names import refuse_names
from workspace.runs import Runs


def test_a_run_keeps_what_it_logs(any_workspace: Workspace) -> None:
    with any_workspace.run("flow", name="first", params={"variant": "short", "n": 3}, tags={"team": "a"}) as run:
        run.log_metrics({"loss": 2.0}, step=1)
        run.log_metrics({"loss": 1.0, "accuracy": 0.5}, step=2)
        run.log_params({"seed": 7})
        run.set_tags({"team": "b"})
        run.log_artifact("notes/a.txt", "hello")
    record = any_workspace.runs.get("first")
    assert record.status == "FINISHED"
    assert record.params == {"variant": "short", "n": 3, "seed": 7}
    assert record.tags == {"team": "b"}
    assert record.metrics == {"loss": 1.0, "accuracy": 0.5}
    assert [point.value for point in any_workspace.runs.metrics(record.run_id, "loss")] == [2.0, 1.0]
    assert (record.directory / "artifacts/notes/a.txt").read_text() == "hello"
    assert record.environment["hardware"]["cores"] >= 1
    assert record.environment["packages"]["sqlalchemy"]


def test_an_exception_fails_the_run_and_goes_on(workspace: Workspace) -> None:
    with pytest.raises(ValueError, match="no"), workspace.run("flow", name="bad"):
        raise ValueError("no")
    record = workspace.runs.get("bad")
    assert (record.status, record.error) == ("FAILED", "ValueError: no")


def test_an_interrupt_kills_the_run(workspace: Workspace) -> None:
    with pytest.raises(KeyboardInterrupt), workspace.run("flow", name="stopped"):
        raise KeyboardInterrupt
    assert workspace.runs.get("stopped").status == "KILLED"


@pytest.mark.parametrize(("code", "status"), [(0, "FINISHED"), (None, "FINISHED"), (2, "FAILED")])
def test_leaving_with_an_exit_code_is_judged_by_it(workspace: Workspace, code: int | None, status: str) -> None:
    with pytest.raises(SystemExit), workspace.run("flow", name="left"):
        sys.exit(code)
    assert workspace.runs.get("left").status == status


def test_a_run_can_fail_without_an_exception(workspace: Workspace) -> None:
    with workspace.run("job", name="child") as run:
        run.fail("exit code 9")
    assert workspace.runs.get("child").error == "exit code 9"
    assert workspace.runs.get("child").status == "FAILED"


def _start_and_die(workspace: Workspace, name: str) -> None:
    code = f"""
import os
from workspace.home import Workspace
with Workspace.open({str(workspace.home)!r}).run("flow", name={name!r}) as run:
    run.log_metrics({{"x": 1.0}})
    print(run.run_id, flush=True)
    input()
"""
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout
    assert len(child.stdout.readline()) == 33
    assert workspace.runs.get(name).status == "RUNNING"
    child.send_signal(signal.SIGKILL)
    child.communicate()


def test_a_run_whose_process_was_killed_reads_as_killed_and_can_be_resumed(workspace: Workspace) -> None:
    _start_and_die(workspace, "lost")
    record = workspace.runs.get("lost")
    assert record.status == "KILLED"
    assert record.ended_at
    assert record.duration < 30
    with workspace.runs.resume(record.run_id) as run:
        assert workspace.runs.get("lost").status == "RUNNING"
        run.log_metrics({"x": 2.0}, step=1)
    record = workspace.runs.get("lost")
    assert (record.status, record.error, record.metrics) == ("FINISHED", None, {"x": 2.0})


class _Meanwhile(LightDatabase):
    """A database whose runs finish, and their processes end, right after they were read."""

    def rows(self, sql: str, **values: Any) -> list[Row]:
        found = super().rows(sql, **values)
        with self.write() as statements:
            statements.change("UPDATE runs SET status = 'FINISHED', ended_at = started_at WHERE status = 'RUNNING'")
        return found


@pytest.mark.parametrize("look", ["get", "settle"])
def test_a_run_that_finishes_while_it_is_read_is_not_said_to_be_killed(workspace: Workspace, look: str) -> None:
    _start_and_die(workspace, "late")
    database = _Meanwhile(workspace.home)
    runs = Runs(database, workspace.spool, folder=workspace.runs.folder)
    if look == "get":
        assert (runs.get("late").status, runs.get("late").error) == ("FINISHED", None)
    else:
        assert runs.settle() == 0
    database.close()


def test_settle_closes_what_died_without_a_word(workspace: Workspace) -> None:
    _start_and_die(workspace, "lost")
    with workspace.run("flow", name="living"):
        assert workspace.runs.settle() == 1
        assert workspace.runs.get("living").status == "RUNNING"
    assert workspace.runs.settle() == 0


def test_a_run_that_lives_or_has_finished_is_not_resumed(workspace: Workspace) -> None:
    living = workspace.run("flow", name="mine")
    with living as run, pytest.raises(Conflict, match="still runs"), workspace.runs.resume(run.run_id):
        pass
    with pytest.raises(Conflict, match="has finished"), workspace.runs.resume(run.run_id):
        pass


def test_a_run_is_found_by_name_id_prefix_and_reference(any_workspace: Workspace) -> None:
    with any_workspace.run("flow", name="demo-short") as run:
        pass
    for name in ("demo-short", run.run_id, run.run_id[:8], run.ref):
        assert any_workspace.runs.get(name).run_id == run.run_id
    with pytest.raises(NotFound) as caught:
        any_workspace.runs.get("demo-shrot")
    assert caught.value.hint == "did you mean 'demo-short'?"


def test_names_are_unique(any_workspace: Workspace) -> None:
    with any_workspace.run("flow", name="one"):
        pass
    with pytest.raises(Conflict), any_workspace.run("flow", name="one"):
        pass
    assert len(list((any_workspace.home / "runs").iterdir())) == 1


def test_the_newest_runs_come_first_by_kind_and_page(any_workspace: Workspace) -> None:
    for index in range(4):
        with any_workspace.run("flow" if index % 2 else "eval", name=f"run-{index}"):
            pass
    assert [record.name for record in any_workspace.runs.list()] == ["run-3", "run-2", "run-1", "run-0"]
    assert [record.name for record in any_workspace.runs.list(kind="flow", limit=1, offset=1)] == ["run-1"]


def test_a_parameter_never_changes(any_workspace: Workspace) -> None:
    with any_workspace.run("flow", params={"seed": 1}) as run:
        run.log_params({"seed": 1})
        with pytest.raises(Invalid, match="seed"):
            run.log_params({"seed": 2})


def test_not_a_number_and_infinity_are_kept(any_workspace: Workspace) -> None:
    with any_workspace.run("flow", name="diverged") as run:
        run.log_metrics({"loss": math.nan, "norm": math.inf})
    found = any_workspace.runs.get("diverged").metrics
    assert math.isnan(found["loss"])
    assert found["norm"] == math.inf


@pytest.mark.parametrize("name", ["", "../x", "a/../b", "/x", "a//b", "é!", "x" * 251, ".."])
def test_a_name_that_mlflow_would_refuse_is_refused_at_once(workspace: Workspace, name: str) -> None:
    with workspace.run("flow") as run, pytest.raises(Invalid, match="cannot name"):
        run.log_metrics({name: 1.0})


@settings(deadline=None)
@given(st.text(max_size=40))
def test_what_we_take_as_a_name_mlflow_takes_too(name: str) -> None:
    from mlflow.exceptions import MlflowException
    from mlflow.utils.validation import _validate_metric_name

    try:
        refuse_names([name])
    except Invalid:
        return
    try:
        _validate_metric_name(name)
    except MlflowException as error:
        pytest.fail(f"MLflow refuses {name!r}: {error}")


def test_an_artifact_cannot_leave_the_run(workspace: Workspace) -> None:
    with workspace.run("flow") as run, pytest.raises(Invalid, match="not allowed"):
        run.log_artifact("../../x", b"")


def test_a_folder_becomes_an_artifact(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "folder/deep").mkdir(parents=True)
    (tmp_path / "folder/deep/a.txt").write_text("a")
    with workspace.run("flow") as run:
        kept = run.log_artifact("copy", tmp_path / "folder")
    assert (kept / "deep/a.txt").read_text() == "a"


def test_start_and_end_are_told_as_openlineage_events(workspace: Workspace) -> None:
    asset = workspace.assets.put("data", "questions", b"{}")
    with workspace.run("flow", inputs=[asset]) as run:
        run.output("data:answers:1")
    (segment,) = workspace.spool.folder.glob("*.jsonl")
    start, end = [json.loads(line)["payload"] for line in segment.read_text().splitlines()]
    assert (start["eventType"], end["eventType"]) == ("START", "COMPLETE")
    assert end["run"]["runId"].replace("-", "") == run.run_id
    assert end["inputs"] == [{"namespace": "studiolo", "name": "data:questions:1"}]
    assert end["outputs"] == [{"namespace": "studiolo", "name": "data:answers:1"}]


def test_many_processes_log_to_their_runs_at_once_and_lose_nothing(any_workspace: Workspace) -> None:
    children = []
    for index in range(4):
        if (child := os.fork()) == 0:
            with any_workspace.run("flow", name=f"child-{index}") as run:
                for step in range(25):
                    run.log_metrics({"x": float(step)}, step=step)
            os._exit(0)
        children.append(child)
    for child in children:
        assert os.waitpid(child, 0)[1] == 0
    for index in range(4):
        record = any_workspace.runs.get(f"child-{index}")
        assert record.status == "FINISHED"
        assert len(any_workspace.runs.metrics(record.run_id)) == 25

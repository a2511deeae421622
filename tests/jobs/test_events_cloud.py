"""What is told of jobs, models, data, deployments and schedules, in CloudEvents, under Azure ML's names."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, update

from jobs import submit
from jobs.events import cloud, rules
from jobs.files import read_schedule
from jobs.schedules import firing, store
from tests.jobs.conftest import Submit, job_of
from tests.jobs.receiving import NOW, Receiver, kinds, said, to
from tests.jobs.receiving import receiver as receiver
from workspace import tables
from workspace.errors import Invalid
from workspace.home import Workspace


def test_a_job_tells_each_status_and_how_it_ended(any_workspace: Workspace, receiver: Receiver, tmp_path: Path) -> None:
    rules.create(any_workspace, to(receiver))
    rest = "name: good\nexperiment_name: tries\ntags: {team: red}\n"
    submit.submit(any_workspace, job_of(tmp_path, "true", rest))
    submit.wait(any_workspace, "good", seconds=60)
    events = said(any_workspace, receiver)
    statuses = [each["data"]["runStatus"] for each in events if each["type"] == cloud.RUN_STATUS_CHANGED]
    assert (statuses[0], statuses[-1], len(statuses)) == ("Queued", "Completed", len(set(statuses)))
    (done,) = [each for each in events if each["type"] == "Microsoft.MachineLearningServices.RunCompleted"]
    assert (done["subject"], done["specversion"]) == ("experiments/tries/runs/good", "1.0")
    assert done["datacontenttype"] == "application/json"
    assert done["source"].startswith("/studiolo/workspaces/")
    assert {key: done["data"][key] for key in ("runId", "experimentName", "runType", "runTags")} == {
        "runId": "good", "experimentName": "tries", "runType": "command", "runTags": {"team": "red"},
    }  # fmt: skip
    assert len({each["id"] for each in events}) == len(events)
    assert abs(time.time() - _moment(done)) < 120


def _moment(event: Mapping[str, Any]) -> float:
    return datetime.fromisoformat(event["time"]).timestamp()


def test_a_job_that_fails_or_is_cancelled_is_told_too(workspace: Workspace, receiver: Receiver, run: Submit) -> None:
    rules.create(workspace, to(receiver, types=("RunFailed", "Studiolo.RunCanceled", "RunCompleted")))
    run("exit 3", "name: bad\n")
    submit.wait(workspace, "bad", seconds=60)
    run("sleep 60", "name: slow\n")
    submit.cancel(workspace, "slow")
    submit.wait(workspace, "slow", seconds=60)
    events = said(workspace, receiver)
    assert [(each["type"], each["data"]["runId"]) for each in events] == [
        ("Studiolo.RunFailed", "bad"), ("Studiolo.RunCanceled", "slow"),
    ]  # fmt: skip
    assert events[0]["data"]["exitCode"] == 3


def test_models_data_deployments_and_rollouts_are_told(any_workspace: Workspace, receiver: Receiver) -> None:
    rules.create(any_workspace, to(receiver))
    any_workspace.assets.put("model", "small", b"weights", properties={"task": "chat"})
    any_workspace.assets.put("data", "rows", b"{}")
    any_workspace.assets.put("report", "page", b"<html>")
    now = {"created_at": NOW, "updated_at": NOW}
    with any_workspace.database.write() as connection:
        connection.execute(
            insert(tables.endpoints).values(name="support", traffic={}, properties={"tags": {"a": "b"}}, **now)
        )
        row = {"endpoint": "support", "name": "blue", "engine": "torch", "model": "model:small:1", "properties": {}}
        connection.execute(insert(tables.deployments).values(**row, **now))
        blue = update(tables.deployments).filter_by(name="blue")
        connection.execute(blue.values(properties={"x": 1}))
        connection.execute(blue.values(model="model:small:2"))
        connection.execute(insert(tables.rollouts).values(
            id="r1", endpoint="support", deployment="blue", spec={}, state="RUNNING", step=0, evidence={},
            reason="slow", created_at=NOW, stepped_at=NOW,
        ))  # fmt: skip
        connection.execute(update(tables.rollouts).values(state="ABORTED"))
    events = said(any_workspace, receiver)
    assert kinds(events) == ["ModelRegistered", "DataRegistered", "ModelDeployed", "ModelDeployed", "RolloutAborted"]
    assert [each["subject"] for each in events] == [
        "models/small:1", "data/rows:1", "endpoints/support", "endpoints/support", "endpoints/support",
    ]  # fmt: skip
    assert (events[0]["data"]["ModelName"], events[0]["data"]["ModelProperties"]) == ("small", {"task": "chat"})
    assert events[3]["data"]["ModelIds"] == "small:2"
    assert events[2]["data"]["ServiceTags"] == {"a": "b"}
    assert events[4]["data"]["reason"] == "slow"


def test_a_schedule_that_cannot_be_fired_is_told(workspace: Workspace, receiver: Receiver, tmp_path: Path) -> None:
    rules.create(workspace, to(receiver, types=("ScheduleFailed",)))
    path = tmp_path / "watch.yml"
    rows = tmp_path / "rows.txt"
    rows.touch()
    (tmp_path / "job.yml").write_text("command: 'true'\ninputs: {rows: {type: uri_file, path: rows.txt}}\n")
    path.write_text("name: watch\ntrigger: {type: cron, expression: '* * * * *'}\ncreate_job: ./job.yml\n")
    store.put(workspace, read_schedule(path), now=NOW)
    rows.unlink()
    firing.tick(workspace, NOW + 60)
    (event,) = said(workspace, receiver)
    assert (event["subject"], "rows.txt" in event["data"]["error"]) == ("schedules/watch", True)


def test_drift_is_told_by_whoever_measures_it(workspace: Workspace, receiver: Receiver) -> None:
    rules.create(workspace, to(receiver))
    cloud.tell(workspace, cloud.DATASET_DRIFT, "datadriftID/x/run/y", {"DriftCoefficient": 0.8}, now=NOW)
    (event,) = said(workspace, receiver)
    assert (event["type"], event["data"]) == (
        "Microsoft.MachineLearningServices.DatasetDriftDetected", {"DriftCoefficient": 0.8},
    )  # fmt: skip
    with pytest.raises(Invalid, match="no event"):
        cloud.tell(workspace, "Drift", "x", {}, now=NOW)


def test_without_a_rule_nothing_is_kept(workspace: Workspace, receiver: Receiver) -> None:
    workspace.assets.put("data", "rows", b"{}")
    rules.create(workspace, to(receiver))
    assert said(workspace, receiver) == []


def test_a_change_that_is_taken_back_is_not_told(any_workspace: Workspace, receiver: Receiver) -> None:
    rules.create(any_workspace, to(receiver))
    asset = {"kind": "model", "name": "a", "version": "1", "digest": "x", "size": 1, "is_folder": False,
             "properties": {}, "created_at": NOW}  # fmt: skip

    def change_and_break() -> None:
        with any_workspace.database.write() as connection:
            connection.execute(insert(tables.assets).values(asset))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        change_and_break()
    assert said(any_workspace, receiver) == []

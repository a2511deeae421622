"""What a job logs of its own run: in the records at once, with no server, and in MLflow later."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest

from jobs import records, run_log
from jobs.run_log import Point
from jobs.submit import stream, wait
from tests.jobs.conftest import LONG, Submit, until
from tests.jobs.test_tracking_door import FAKE
from tests.jobs.test_tracking_door import no_server_stays as no_server_stays
from workspace.errors import Invalid
from workspace.home import Workspace

ASK = """
import json, os, sys, urllib.error, urllib.request
run, uri = os.environ["MLFLOW_RUN_ID"], os.environ["MLFLOW_TRACKING_URI"] + "/api/2.0/mlflow/"
def ask(path, **body):
    data = json.dumps({"run_id": run, **body}).encode() if body else None
    headers = {"Authorization": "Bearer " + os.environ["MLFLOW_TRACKING_TOKEN"], "Content-Type": "application/json"}
    try:
        return json.load(urllib.request.urlopen(urllib.request.Request(uri + path, data, headers), timeout=60))
    except urllib.error.HTTPError as error:
        return {"status": error.code, **json.loads(error.read() or b"{}")}
"""
MLFLOW = """
import mlflow
mlflow.log_metric("loss", 0.5, step=1)
mlflow.log_metrics({"loss": 0.25, "auc": float("nan")}, step=2)
mlflow.log_param("rate", 3.0)
mlflow.set_tag("team", "blue")
mlflow.log_text("words", "notes.txt")
mlflow.set_experiment("trial")
assert mlflow.get_run(mlflow.active_run().info.run_id).data.metrics["loss"] == 0.25
print("experiment", mlflow.active_run().info.experiment_id, flush=True)
"""


def said(workspace: Workspace, name: str) -> list[Any]:
    return [json.loads(line) for line in b"".join(stream(workspace, name)).splitlines()]


def asked(workspace: Workspace, run: Submit, tmp_path: Path, script: str, **wishes: object) -> tuple[Any, list[Any]]:
    (tmp_path / "ask.py").write_text(f"{ASK}\n{script}")
    job = run(f"{sys.executable} {tmp_path}/ask.py", "inputs:\n  rate: 3\ntags:\n  team: red\n", **wishes)
    ended = wait(workspace, job.name, seconds=LONG)
    assert ended.status == "Completed", b"".join(stream(workspace, job.name))
    return workspace.runs.get(str(ended.run_id)), said(workspace, job.name)


def test_metrics_parameters_and_tags_go_into_the_records_and_start_no_server(
    workspace: Workspace, run: Submit, tmp_path: Path
) -> None:
    script = """
ask("runs/log-metric", key="loss", value=0.5, timestamp=1000, step=1)
ask("runs/log-batch", metrics=[{"key": "loss", "value": 0.25, "timestamp": 2000, "step": 2},
    {"key": "odd", "value": "NaN", "timestamp": 2000}], params=[{"key": "depth", "value": "7"}],
    tags=[{"key": "a", "value": "b"}, {"key": "c", "value": "d"}])
ask("runs/log-parameter", key="rate", value="3.0")
ask("runs/set-tag", key="team", value="blue")
ask("runs/delete-tag", key="c")
"""
    found, _ = asked(workspace, run, tmp_path, script, tracking=FAKE)
    assert found.metrics["loss"] == 0.25
    assert math.isnan(found.metrics["odd"])
    assert [(each.step, each.value, each.ts) for each in workspace.runs.metrics(found.run_id, "loss")] == [
        (1, 0.5, 1.0), (2, 0.25, 2.0)
    ]  # fmt: skip
    assert found.params == {"rate": "3", "depth": "7"}
    assert (found.tags["team"], found.tags["a"], "c" in found.tags) == ("blue", "b", False)
    assert not (workspace.home / "started").exists()


def test_a_client_that_resumes_the_run_is_told_of_it(workspace: Workspace, run: Submit, tmp_path: Path) -> None:
    script = """
ask("runs/log-metric", key="loss", value=0.5, timestamp=1000, step=1)
told = ask("runs/get?run_id=" + run)["run"]
print(json.dumps(told))
print(json.dumps(ask("runs/update", status="FINISHED", run_name="mine")))
print(json.dumps(ask("experiments/get-by-name?experiment_name=" + os.environ["MLFLOW_EXPERIMENT_NAME"])))
"""
    found, (told, updated, experiment) = asked(workspace, run, tmp_path, script, tracking=FAKE)
    assert told["info"]["run_id"] == found.run_id
    assert {each["key"]: each["value"] for each in told["data"]["metrics"]} == {"loss": 0.5}
    assert {"key": "rate", "value": "3"} in told["data"]["params"]
    assert told["info"]["experiment_id"] == experiment["experiment"]["experiment_id"]
    assert updated["run_info"]["run_name"] == "mine"
    assert found.tags["mlflow.runName"] == "mine"


def test_what_cannot_be_logged_is_refused_in_mlflows_words(workspace: Workspace, run: Submit, tmp_path: Path) -> None:
    script = """
print(json.dumps(ask("runs/log-parameter", key="rate", value="4")))
print(json.dumps(ask("runs/log-metric", key="loss", value="high", timestamp=1)))
print(json.dumps(ask("runs/log-metric", key="../x", value=1, timestamp=1)))
print(json.dumps(ask("runs/log-metric", value=1, timestamp=1)))
"""
    _, refused = asked(workspace, run, tmp_path, script, tracking=FAKE)
    assert [each["status"] for each in refused] == [400] * 4
    assert refused[0]["error_code"] == "INVALID_PARAMETER_VALUE"
    assert "'rate' is '3' already, not '4'" in refused[0]["message"]


def test_what_is_about_another_run_is_for_the_server(workspace: Workspace, run: Submit, tmp_path: Path) -> None:
    script = 'print(json.dumps(ask("runs/log-metric", run_id="f" * 32, key="loss", value=1)))'
    _, (answer,) = asked(workspace, run, tmp_path, script.replace('run_id="f" * 32, ', "").replace(
        "ask(", "(globals().update(run='f' * 32), ask)[1]("), tracking=FAKE)  # fmt: skip
    assert answer["path"] == "/api/2.0/mlflow/runs/log-metric"
    assert answer["size"] > 0
    assert (workspace.home / "started").exists()


def test_a_metric_is_heard_while_the_job_runs(workspace: Workspace, run: Submit, tmp_path: Path) -> None:
    (tmp_path / "ask.py").write_text(f"{ASK}\nask('runs/log-metric', key='loss', value=1)\nimport time; time.sleep(30)")
    job = run(f"{sys.executable} {tmp_path}/ask.py")
    until(lambda: run_log.logged(workspace.light, [str(job.run_id)], "loss"))
    assert records.get(workspace, job.name).status == "Running"


def test_a_parameter_that_is_refused_leaves_nothing_of_its_batch(workspace: Workspace) -> None:
    with workspace.run("job", params={"a": 1}) as made:
        with pytest.raises(Invalid, match="'a' is 1 already"):
            run_log.log(workspace.light, made.run_id, points=[Point("x", 1.0, 0, 1.0)], params={"a": "2", "b": "3"})
        assert run_log.keys_of(workspace.light, made.run_id) == []
        run_log.log(workspace.light, made.run_id, points=[Point("x", 1.0, 0, 1.0)], params={"a": "1.0", "b": "3"})
    assert workspace.runs.get(made.run_id).params == {"a": 1, "b": "3"}


@pytest.mark.slow
def test_an_unmodified_mlflow_script_starts_no_server_and_its_run_is_in_mlflow_later(
    workspace: Workspace, run: Submit, tmp_path: Path
) -> None:
    (tmp_path / "log.py").write_text(MLFLOW)
    job = run(f"{sys.executable} {tmp_path}/log.py", "experiment_name: trial\ninputs:\n  rate: 3\n", tracking=FAKE)
    ended = wait(workspace, job.name, seconds=2 * LONG)
    log = b"".join(stream(workspace, job.name)).decode()
    assert ended.status == "Completed", log
    assert not (workspace.home / "started").exists()
    from workspace.tracking import carry, store_of

    carry(workspace)
    found = store_of(workspace).get_run(str(job.run_id))
    assert found.data.metrics["loss"] == 0.25
    assert (found.data.params["rate"], found.data.tags["team"]) == ("3", "blue")
    assert f"experiment {found.info.experiment_id}" in log.splitlines()
    assert (workspace.home / "runs" / str(job.run_id) / "artifacts" / "notes.txt").read_text() == "words"

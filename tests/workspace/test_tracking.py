"""Runs arrive in MLflow whole and once, under their own ids."""

from __future__ import annotations

import math
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import update

from workspace import tracking
from workspace.errors import Unavailable
from workspace.home import Workspace
from workspace.run import Run
from workspace.tables import runs


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database with its tables: making them takes seconds, copying them none."""
    with Workspace.open(tmp_path_factory.mktemp("mlflow") / "home") as opened:
        with opened.run("flow"):
            pass
        tracking.carry(opened)
        return opened.home / "mlflow.db"


@pytest.fixture
def ready(workspace: Workspace, prepared: Path) -> Workspace:
    """A workspace whose MLflow database has its tables."""
    (workspace.home / "mlflow.db").write_bytes(prepared.read_bytes())
    return workspace


def _client(workspace: Workspace) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(tracking.tracking_uri(workspace))


def _carry_again(workspace: Workspace) -> int:
    """Carry as after a crash between MLflow's commit and ours."""
    with workspace.database.write() as connection:
        connection.execute(update(runs).values(carried=0))
    return tracking.carry(workspace)


def _log(run: Run) -> None:
    run.log_metrics({"loss": 2.0, "nan": math.nan}, step=1)
    run.log_metrics({"loss": 1.0}, step=2)
    run.log_artifact("notes/a.txt", "hello")


def test_a_run_is_an_mlflow_run_of_the_same_id(ready: Workspace) -> None:
    data = ready.assets.put("data", "questions", b"{}")
    with ready.run("flow", name="demo", inputs=[data], params={"n": 3}, tags={"team": "a"}) as run:
        _log(run)
        run.output("data:answers:1")
    assert tracking.carry(ready) == 1
    client = _client(ready)
    seen = client.get_run(run.run_id)
    record = ready.runs.get("demo")
    assert (seen.info.run_name, seen.info.status) == ("demo", "FINISHED")
    assert seen.info.end_time == round((record.ended_at or 0) * 1000)
    assert seen.data.params == {"n": "3"}
    assert seen.data.tags["team"] == "a"
    assert seen.data.tags["studiolo.outputs"] == '["data:answers:1"]'
    assert seen.data.tags.get("mlflow.source.git.commit") == (record.environment["git"] or {}).get("commit")
    assert [point.value for point in client.get_metric_history(run.run_id, "loss")] == [2.0, 1.0]
    assert math.isnan(seen.data.metrics["nan"])
    (given,) = seen.inputs.dataset_inputs
    assert (given.dataset.name, given.dataset.digest) == ("data:questions:1", data.digest[7:39])
    assert [file.path for file in client.list_artifacts(run.run_id, "notes")] == ["notes/a.txt"]
    assert client.get_experiment(seen.info.experiment_id).name == tracking.experiment_of(ready, "flow")


def test_carrying_again_doubles_nothing(ready: Workspace) -> None:
    data = ready.assets.put("data", "questions", b"{}")
    with ready.run("flow", inputs=[data]) as run:
        _log(run)
    assert tracking.carry(ready) == 1
    assert tracking.carry(ready) == 0
    before = _client(ready).get_run(run.run_id)
    assert _carry_again(ready) == 1
    assert repr(_client(ready).get_run(run.run_id)) == repr(before)  # a text, for NaN differs from itself
    assert len(_client(ready).get_metric_history(run.run_id, "loss")) == 2
    assert len(_client(ready).search_runs([before.info.experiment_id], f"attributes.run_id = '{run.run_id}'")) == 1


def test_a_crash_in_the_middle_loses_and_doubles_nothing(ready: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    with ready.run("flow") as run:
        for step in range(2_000):
            run.log_metrics({"x": float(step)}, step=step)
    calls = iter(range(100))
    whole = SqlAlchemyStore.log_batch

    def break_down(self: Any, *arguments: Any) -> None:
        if next(calls) == 3:
            raise ConnectionError("power cut")
        whole(self, *arguments)

    monkeypatch.setattr(SqlAlchemyStore, "log_batch", break_down)
    with pytest.raises(ConnectionError):
        tracking.carry(ready)
    monkeypatch.undo()
    assert tracking.carry(ready) == 1
    history = _client(ready).get_metric_history(run.run_id, "x")
    assert sorted(point.value for point in history) == [float(step) for step in range(2_000)]


def test_a_run_is_followed_while_it_runs(ready: Workspace) -> None:
    with ready.run("flow") as run:
        run.log_metrics({"x": 1.0}, step=1)
        tracking.carry(ready)
        assert _client(ready).get_run(run.run_id).info.status == "RUNNING"
        run.log_metrics({"x": 2.0}, step=2)
    tracking.carry(ready)
    assert _client(ready).get_run(run.run_id).info.status == "FINISHED"
    assert len(_client(ready).get_metric_history(run.run_id, "x")) == 2


def test_a_failed_run_fails_there_too_and_may_go_on(ready: Workspace) -> None:
    with pytest.raises(ValueError, match="no"), ready.run("flow", name="bad") as run:
        raise ValueError("no")
    tracking.carry(ready)
    seen = _client(ready).get_run(run.run_id)
    assert (seen.info.status, seen.data.tags["studiolo.error"]) == ("FAILED", "ValueError: no")
    with ready.runs.resume(run.run_id):
        tracking.carry(ready)
        seen = _client(ready).get_run(run.run_id)
        assert (seen.info.status, seen.info.end_time) == ("RUNNING", None)


def test_what_is_long_is_carried_shortened(ready: Workspace) -> None:
    tags = {f"t{index}": "x" for index in range(250)} | {"long": "y" * 20_000}
    with ready.run("flow", params={"long": "x" * 20_000}, tags=tags) as run:
        pass
    assert tracking.carry(ready) == 1
    assert len(_client(ready).get_run(run.run_id).data.params["long"]) == 6_000


def test_a_run_deleted_there_stays_deleted(ready: Workspace) -> None:
    with ready.run("flow") as run:
        tracking.carry(ready)
        _client(ready).delete_run(run.run_id)
    assert tracking.carry(ready) == 1
    assert _client(ready).get_run(run.run_id).info.lifecycle_stage == "deleted"


def test_a_server_that_does_not_answer_is_said_and_nothing_is_lost(workspace: Workspace) -> None:
    with workspace.run("flow"):
        pass
    workspace.settings = replace(workspace.settings, mlflow_tracking_uri="http://127.0.0.1:9")
    with pytest.raises(Unavailable, match="does not answer"):
        tracking.carry(workspace)
    workspace.settings = replace(workspace.settings, mlflow_tracking_uri="")
    assert tracking.carry(workspace) == 1


def test_nothing_to_carry_does_not_import_mlflow(tmp_path: Path) -> None:

    code = f"""
import sys
from workspace import tracking
from workspace.home import Workspace
assert tracking.carry(Workspace.open({str(tmp_path / "home")!r})) == 0
assert "mlflow" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.fixture
def server(tmp_path: Path, prepared: Path) -> Iterator[str]:
    """A real MLflow server on a free port."""

    (tmp_path / "server").mkdir()
    (tmp_path / "server/mlflow.db").write_bytes(prepared.read_bytes())
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--backend-store-uri", f"sqlite:///{tmp_path}/server/mlflow.db"]
    command += ["--artifacts-destination", str(tmp_path / "server/artifacts"), "--serve-artifacts"]
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    process = subprocess.Popen(command, env=os.environ | quiet, start_new_session=True, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 90
        while True:
            try:
                if httpx.get(f"{url}/health", timeout=1).status_code == 200:
                    break
            except httpx.HTTPError:
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.2)
        yield url
    finally:
        os.killpg(process.pid, 15)
        process.wait(20)


@pytest.mark.slow
def test_a_remote_server_gets_each_run_once_and_its_artifacts(workspace: Workspace, server: str) -> None:
    workspace.settings = replace(workspace.settings, mlflow_tracking_uri=server)
    with workspace.run("flow", name="far", params={"n": 3}) as run:
        _log(run)
    assert tracking.carry(workspace) == 1
    assert _carry_again(workspace) == 1
    client = _client(workspace)
    experiment = client.get_experiment_by_name(tracking.experiment_of(workspace, "flow"))
    (seen,) = client.search_runs([experiment.experiment_id], "attributes.run_name = 'far'")
    assert (seen.info.status, seen.data.tags[tracking.RUN_ID]) == ("FINISHED", run.run_id)
    assert len(client.get_metric_history(seen.info.run_id, "loss")) == 2
    assert [file.path for file in client.list_artifacts(seen.info.run_id, "notes")] == ["notes/a.txt"]


def test_a_model_that_a_training_has_left_is_one_version_in_mlflows_registry(ready: Workspace) -> None:
    rows = ready.assets.put("data", "rows", b"{}", properties={"filename": "rows.jsonl"})
    with ready.run("finetune", inputs=[rows]) as run:
        told = {"filename": "w", "base": "model:base:1", "method": "sft"}
        model = ready.assets.put("model", "polite", b"weights", properties=told)
        run.output(model)
        run.set_tags({"studiolo.model": model.ref})
    tracking.carry(ready)
    _carry_again(ready)
    (version,) = _client(ready).search_model_versions("name = 'polite'")
    assert version.run_id == run.run_id
    assert version.tags["studiolo.asset"] == model.ref
    assert version.tags["studiolo.base"] == "model:base:1"
    assert Path(version.source.removeprefix("file://")).read_bytes() == b"weights"
    (used,) = _client(ready).get_run(run.run_id).inputs.dataset_inputs
    assert used.dataset.name == rows.ref

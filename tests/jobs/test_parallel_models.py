"""Parallel tasks of type `model`: one that MLflow has logged needs no script, any other has one beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from jobs.create import create
from jobs.files.parallel_job import parallel_job_of
from jobs.records import JobRecord
from tests.jobs.sweeping import plain_python as plain_python
from tests.jobs.sweeping import plain_wheels
from tests.jobs.test_parallel_step import ours, rows
from workspace.errors import Denied, Invalid
from workspace.home import Workspace


def begun(workspace: Workspace, folder: Path, model: str, data: Path, **given: Any) -> JobRecord:
    task = {"type": "model", "model": model, "append_row_to": "${{outputs.scores}}", **given.pop("task")}
    plain = {
        "type": "parallel", "name": "score", "task": task, "input_data": "${{inputs.rows}}",
        "inputs": {"rows": {"path": str(data)}}, "outputs": {"scores": {"type": "uri_file"}},
        "max_concurrency_per_instance": 1, **given,
    }  # fmt: skip
    return create(workspace, parallel_job_of(plain, folder))


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    folder = tmp_path / "rows"
    folder.mkdir()
    (folder / "a.csv").write_text("x,y\n0,0\n1,1\n")
    (folder / "b.csv").write_text("x,y\n1,0\n")
    return folder


def test_a_model_of_mlflow_gives_number_prediction_and_file_of_each_row(
    workspace: Workspace, tmp_path: Path, tables: Path
) -> None:
    mlflow = pytest.importorskip("mlflow.xgboost")
    xgboost = pytest.importorskip("xgboost")
    pandas = pytest.importorskip("pandas")
    points = pandas.DataFrame({"x": [0.0, 1.0, 0.0, 1.0] * 5, "y": [0.0, 0.0, 1.0, 1.0] * 5})
    booster = xgboost.train({"max_depth": 2, "seed": 1}, xgboost.DMatrix(points, label=points.x), num_boost_round=20)
    mlflow.save_model(booster, tmp_path / "model")
    asset = workspace.assets.put("model", "sums", tmp_path / "model", properties={"type": "mlflow_model"})
    begun(
        workspace, tmp_path, f"azureml:{asset.ref}", tables, mini_batch_size="2", task={"environment": ours(tmp_path)}
    )
    found = [line.split() for line in rows(workspace)]
    assert [(number, name) for number, _, name in found] == [("0", "a.csv"), ("1", "a.csv"), ("0", "b.csv")]
    assert [round(float(value)) for _, value, _ in found] == [0, 1, 1]


def test_a_script_finds_its_model_under_its_name(workspace: Workspace, tmp_path: Path, tables: Path) -> None:
    (tmp_path / "factors").mkdir()
    (tmp_path / "factors" / "factor.txt").write_text("7")
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "score.py").write_text(
        "import os\ndef run(mini_batch):\n"
        "    return [open(os.environ['AZUREML_MODEL_DIR'] + '/factors/factor.txt').read() for _ in mini_batch]\n"
    )
    environment = {"conda_file": {"dependencies": [{"pip": [*plain_wheels(), "tinything"]}]}}
    task = {"code": str(tmp_path / "src"), "entry_script": "score.py", "environment": environment}
    begun(workspace, tmp_path, str(tmp_path / "factors"), tables, task=task)
    assert rows(workspace) == ["7", "7"]


PICKLED = (
    "flavors:\n  python_function: {loader_module: mlflow.sklearn}\n  sklearn: {serialization_format: cloudpickle}\n"
)


def test_what_cannot_be_asked_and_what_may_run_code_is_refused(
    workspace: Workspace, tmp_path: Path, tables: Path
) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights").write_text("1")
    task = {"environment": ours(tmp_path)}
    with pytest.raises(Invalid, match="was not logged by MLflow"):
        begun(workspace, tmp_path, str(tmp_path / "model"), tables, task=task)
    (tmp_path / "model" / "MLmodel").write_text(PICKLED)
    with pytest.raises(Denied, match="can run code: sklearn loads it with cloudpickle") as refused:
        begun(workspace, tmp_path, str(tmp_path / "model"), tables, task=task)
    assert "MLFLOW_ALLOW_PICKLE_DESERIALIZATION" in str(refused.value.hint)

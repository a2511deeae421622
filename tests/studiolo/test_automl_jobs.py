"""AutoML jobs through the front door: a file is submitted, killed, used in a pipeline, and its model is served."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from finetune.automl.wanted import of_job
from jobs import records
from jobs.create import create
from jobs.files import read_job
from jobs.files.automl import AutoMLJob
from jobs.folders import job_folder
from jobs.submit import stream, wait
from serving import endpoints
from tests.jobs.conftest import until
from tests.jobs.killing import kill
from tests.serving.scoring_engine import engine
from workspace.errors import Invalid
from workspace.home import Workspace
from workspace.settings import Settings

LONG = 150.0
TABLE = """
type: mltable
paths: [{file: ./rows.csv}]
transformations:
- read_delimited: {delimiter: ',', encoding: utf8, header: all_files_same_headers}
"""
CLASSIFY = """
type: automl
task: classification
primary_metric: accuracy
target_column_name: answer
training_data: {type: mltable, path: data}
n_cross_validations: 2
limits: {max_trials: 3, timeout_minutes: 5}
training: {allowed_training_algorithms: [LightGBM, LogisticRegression, DecisionTree], enable_stack_ensemble: false}
outputs: {best_model: {type: mlflow_model, name: answers}}
"""
FORECAST = """
type: automl
task: forecasting
target_column_name: sales
training_data: {type: mltable, path: data}
limits: {max_trials: 3, timeout_minutes: 5}
n_cross_validations: 2
training: {allowed_training_algorithms: [SeasonalNaive, Average, ElasticNet]}
forecasting: {time_column_name: day, forecast_horizon: 7, time_series_id_column_names: [store]}
outputs: {best_model: {type: mlflow_model}}
"""
PIPELINE = """
type: pipeline
inputs:
  table: {type: mltable, path: data}
outputs:
  model: {type: mlflow_model}
jobs:
  learn:
    type: automl
    task: regression
    target_column_name: age
    training_data: ${{parent.inputs.table}}
    n_cross_validations: 2
    limits: {max_trials: 1, timeout_minutes: 5}
    training: {allowed_training_algorithms: [ElasticNet], enable_stack_ensemble: false, enable_vote_ensemble: false}
    outputs:
      best_model: ${{parent.outputs.model}}
"""


def people(folder: Path, count: int = 120) -> None:
    luck = np.random.default_rng(2)
    age, place = luck.integers(18, 80, count), luck.choice(["north", "south"], count)
    answer = np.where(age + 20 * (place == "north") + luck.normal(0, 8, count) > 55, "yes", "no")
    write(folder, pd.DataFrame({"age": age, "place": place, "answer": answer}))


def sales(folder: Path) -> None:
    days = pd.date_range("2024-01-01", periods=70, freq="D")
    wave = 20 + 5 * np.sin(np.arange(70) * 2 * np.pi / 7)
    write(folder, pd.concat([pd.DataFrame({"day": days, "store": name, "sales": wave + more}) for name, more in
                             (("a", 0), ("b", 10))]))  # fmt: skip


def write(folder: Path, table: Any) -> None:
    (folder / "data").mkdir()
    table.to_csv(folder / "data" / "rows.csv", index=False)
    (folder / "data" / "MLTable").write_text(TABLE)


def submitted(workspace: Workspace, folder: Path, text: str, name: str = "learn") -> Any:
    (folder / "job.yml").write_text(f"name: {name}\n{text}")
    return create(workspace, read_job(folder / "job.yml"))


def completed(workspace: Workspace, name: str) -> Any:
    job = wait(workspace, name, seconds=LONG)
    assert job.status == "Completed", f"{job.error}\n{b''.join(stream(workspace, name)).decode()}"
    return job


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """A workspace in which one search was killed in its middle, went on, and has ended."""
    folder = tmp_path_factory.mktemp("learned")
    with Workspace.open(settings=Settings(home=folder / "home")) as workspace:
        people(folder)
        submitted(workspace, folder, CLASSIFY)
        first = job_folder(workspace.home, "learn") / "work" / "0" / "trial.json"
        until(first.exists, LONG)
        kill(workspace, "learn", "process")
        completed(workspace, "learn")
        yield workspace


def test_a_killed_search_goes_on_with_the_trials_that_had_ended(learned: Workspace) -> None:
    job = records.get(learned, "learn")
    assert (job.kind, job.attempt) == ("automl", 2)
    said = b"".join(stream(learned, "learn")).decode()
    assert "trials that had ended before" in said
    trials = [run for run in learned.runs.list(kind="trial") if run.name.startswith("learn_")]
    assert sorted(run.name for run in trials) == ["learn_0", "learn_1", "learn_2"]
    assert all(run.tags["mlflow.parentRunId"] == job.run_id for run in trials)
    assert {run.params["algorithm"] for run in trials} == {"light_gbm", "logistic_regression", "decision_tree"}
    assert all(run.metrics["accuracy"] > 0.6 for run in trials)


def test_what_was_found_is_kept_as_metrics_page_and_explanation(learned: Workspace) -> None:
    run = learned.runs.get(str(records.get(learned, "learn").run_id))
    outputs = run.directory / "artifacts" / "outputs"
    told = json.loads((outputs / "automl.json").read_text())
    assert run.metrics["best/accuracy"] == pytest.approx(told["best"]["metrics"]["accuracy"])
    assert "<svg" in (outputs / "automl.html").read_text()
    assert "| place | category |" in (outputs / "featurization.md").read_text()
    model = learned.assets.get("model", "answers")
    card = (learned.assets.path(model) / "README.md").read_text()
    assert "pipeline_tag: tabular-classification" in card


def test_the_best_model_is_served_without_code_and_without_consent(learned: Workspace) -> None:
    endpoints.put(learned, "bot")
    model = learned.assets.get("model", "answers")
    deployment = endpoints.put_deployment(learned, "bot", "blue", engine="mlflow", model=model.ref)
    rows = {"columns": ["age", "place"], "data": [[79, "north"], [18, "nowhere"]]}
    with engine(learned, deployment) as client:
        assert client.post("/score", json={"input_data": rows}).json() == ["yes", "no"]
        answer = client.post("/invocations", json={"dataframe_split": rows})
        assert answer.json() == {"predictions": ["yes", "no"]}
        chances = client.post("/score", json={"input_data": rows, "params": {"output": "chances"}}).json()
        assert chances[0]["yes"] > 0.5 > chances[1]["yes"]


def test_a_forecaster_goes_on_from_the_rows_that_it_is_given(workspace: Workspace, tmp_path: Path) -> None:
    import mlflow.pyfunc

    sales(tmp_path)
    submitted(workspace, tmp_path, FORECAST, "ahead")
    completed(workspace, "ahead")
    model = mlflow.pyfunc.load_model(str(workspace.assets.path(workspace.assets.get("model", "ahead-best_model"))))
    days = pd.date_range("2024-03-11", periods=7, freq="D")
    said = model.predict(pd.DataFrame({"day": days, "store": "b"}))
    assert said == pytest.approx(30 + 5 * np.sin(np.arange(70, 77) * 2 * np.pi / 7), abs=0.5)
    later = pd.DataFrame({"day": days[:2], "store": "a", "sales": [50.0, np.nan]})
    assert model.predict(later)[0] == 50.0
    with pytest.raises(Invalid, match="none of the 7 steps"):
        model.predict(pd.DataFrame({"day": [pd.Timestamp("2025-01-01")], "store": "a"}))


@pytest.mark.slow
def test_a_step_of_a_pipeline_leaves_its_model(workspace: Workspace, tmp_path: Path) -> None:
    people(tmp_path, 60)
    submitted(workspace, tmp_path, PIPELINE, "flow")
    completed(workspace, "flow")
    assert workspace.assets.get("model", "flow-model").properties["type"] == "mlflow_model"


@pytest.mark.parametrize(("change", "says"), [
    ({"task: classification": "task: image_object_detection", "primary_metric: accuracy": "", "n_cross_val": "#",
      "training:": "#", "limits:": "#"}, "'image_object_detection' cannot be run"),
    ({"DecisionTree": "Prophet"}, "Prophet"),
])  # fmt: skip
def test_what_cannot_be_done_is_refused_before_anything_runs(
    workspace: Workspace, tmp_path: Path, change: dict[str, str], says: str
) -> None:
    people(tmp_path, 20)
    text = CLASSIFY
    for old, new in change.items():
        text = text.replace(old, new)
    with pytest.raises(Invalid, match=says):
        submitted(workspace, tmp_path, text)
    assert records.list_jobs(workspace) == []


def test_the_files_of_the_page_are_read_and_can_be_run(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "automl.md").read_text(encoding="utf-8")
    files = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert len(files) == 2
    people(tmp_path, 20)
    for text in files:
        (tmp_path / "job.yml").write_text(text)
        job = read_job(tmp_path / "job.yml")
        assert isinstance(job, AutoMLJob)
        assert of_job(job).task in ("classification", "forecasting")

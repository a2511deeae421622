"""Sweeps for tests: small trials that log as MLflow's clients do, without the seconds that importing MLflow takes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from jobs.create import create
from jobs.files import read_job
from jobs.records import JobRecord
from tests.jobs.wheels import wheel
from workspace.home import Workspace

# What `mlflow.log_metric` sends: one request to the address that every job is told.
TRIAL = """
import http.client, json, os, sys, time
def log(value, key="score", step=0):
    connection = http.client.HTTPConnection(os.environ["MLFLOW_TRACKING_URI"].removeprefix("http://"))
    body = {"run_id": os.environ["MLFLOW_RUN_ID"], "key": key, "value": value, "timestamp": 1, "step": step}
    headers = {"Authorization": "Bearer " + os.environ["MLFLOW_TRACKING_TOKEN"], "Content-Type": "application/json"}
    connection.request("POST", "/api/2.0/mlflow/runs/log-metric", json.dumps(body), headers)
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
"""
SWEEP = """
$schema: https://azuremlschemas.azureedge.net/latest/sweepJob.schema.json
type: sweep
name: {name}
trial:
  code: code
  command: {python} trial.py {arguments}
  environment: {environment}
sampling_algorithm: {sampling}
search_space:
  {space}
objective:
  goal: {goal}
  primary_metric: score
limits:
  max_total_trials: {total}
  max_concurrent_trials: {at_once}
{rest}
"""


ENVIRONMENT = "STUDIOLO_TEST_PLAIN_PYTHON"


@pytest.fixture(autouse=True)
def plain_python(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a Python with next to nothing in it, made once, for what must name an environment."""
    folder = tmp_path_factory.getbasetemp() / "plain"
    folder.mkdir(exist_ok=True)
    wheel(folder / "wheels")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS", "never")
    monkeypatch.setenv(ENVIRONMENT, str(folder / "wheels"))


def plain_wheels() -> list[str]:
    """Return where its one package, `tinything`, is found, in pip's words."""
    return ["--no-index", f"--find-links {os.environ[ENVIRONMENT]}"]


def plain_environment() -> str:
    """Return that environment as a file says it."""
    pip = json.dumps([*plain_wheels(), "tinything"])
    return f"{{conda_file: {{dependencies: [{{pip: {pip}}}]}}}}"


def sweep(workspace: Workspace, folder: Path, script: str, **given: object) -> JobRecord:
    """Begin a sweep whose trials run a script, with `log(value)` at hand: `sweep(workspace, tmp_path, "log(x)")`."""
    (folder / "code").mkdir(exist_ok=True)
    (folder / "code" / "trial.py").write_text(f"{TRIAL}\n{script}\n")
    values = {
        "name": "tune", "environment": plain_environment(), "python": "python", "arguments": "${{search_space.x}}",
        "sampling": "grid", "space": "x: {type: choice, values: [1, 2, 3]}", "goal": "maximize", "total": 10,
        "at_once": 2, "rest": "",
    }  # fmt: skip
    (folder / "sweep.yml").write_text(SWEEP.format(**(values | given)))
    return create(workspace, read_job(folder / "sweep.yml"))

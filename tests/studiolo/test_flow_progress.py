"""A run as it is watched: who stops it learns what is kept and how to go on, and whoever looks later the same."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner

from flows.results import LOG, read_log
from studiolo.cli import app
from workspace import Workspace

FLOW = """\
inputs:
  n: {type: int}
outputs:
  y: {type: int, reference: "${wait.output}"}
nodes:
- {name: wait, type: python, source: {type: code, path: wait.py}, inputs: {n: "${inputs.n}"}}
"""
WAIT = """\
import time

from promptflow.core import tool


@tool
def wait(n: int) -> int:
    time.sleep(0.05)
    return n
"""


def test_an_interrupted_run_says_how_to_go_on_and_does(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = tmp_path / "flow"
    flow.mkdir()
    (flow / "flow.dag.yaml").write_text(FLOW)
    (flow / "wait.py").write_text(WAIT)
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps({"n": number}) + "\n" for number in range(200)))
    environment = os.environ | {"STUDIOLO_HOME": str(workspace.home)}
    command = [sys.executable, "-m", "studiolo", "flow", "run", "--flow", str(flow)]
    command += ["--data", str(data), "--name", "stopped", "--concurrency", "2"]
    child = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    family = [psutil.Process(child.pid)]
    deadline = time.monotonic() + 60
    while not list(workspace.home.glob(f"runs/*/{LOG}")) or not any(
        list(read_log(path)) for path in workspace.home.glob(f"runs/*/{LOG}")
    ):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    family += family[0].children(recursive=True)
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=60)
    assert child.returncode == 130
    assert "interrupted: what has ended is kept\nhint: studiolo flow resume stopped" in said
    assert "Traceback" not in said
    assert psutil.wait_procs(family, timeout=10)[1] == []
    record = workspace.runs.get("stopped")
    kept = len(list(read_log(record.directory / LOG)))
    monkeypatch.setenv("STUDIOLO_HOME", str(workspace.home))
    shown = CliRunner().invoke(app, ["flow", "show", "stopped"])
    assert f"stopped: KILLED, {kept} completed" in shown.stderr
    CliRunner().invoke(app, ["flow", "resume", "stopped"], catch_exceptions=False)
    assert workspace.runs.get("stopped").metrics["lines.completed"] == 200

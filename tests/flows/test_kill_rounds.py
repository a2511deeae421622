"""Runs killed at random moments: the parent, a worker, the terminal. `make slow` does 200 rounds, the suite a few."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from flows.results import LOG, read_log
from workspace import Workspace
from workspace.errors import NotFound

LINES = 80
FLOW = """\
inputs:
  n: {type: int}
outputs:
  y: {type: int, reference: "${step.output}"}
nodes:
- {name: step, type: python, source: {type: code, path: step.py}, inputs: {n: "${inputs.n}"}}
"""
# The node notes that it ran; a line that is in the log must have been noted once, whatever was killed and when.
STEP = """def step(n: int) -> int:
    import os, time
    note = os.open({calls!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(note, b'%d\\n' % n)
    os.close(note)
    time.sleep(0.01)
    return n
"""


@pytest.mark.parametrize("whom", ["parent", "worker", "terminal"])
def test_a_killed_run_loses_and_repeats_nothing(
    whom: str, workspace: Workspace, make_flow: Callable[..., Path], tmp_path: Path
) -> None:
    _round(whom, random.Random(whom), workspace, make_flow, tmp_path)  # noqa: S311 - moments, no secrets


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_two_hundred_rounds_lose_and_repeat_nothing(
    workspace: Workspace, make_flow: Callable[..., Path], tmp_path: Path
) -> None:
    moments = random.Random(20)  # noqa: S311 - moments, no secrets
    for number in range(200):
        folder = tmp_path / str(number)
        folder.mkdir()
        _round(moments.choice(["parent", "worker", "terminal"]), moments, workspace, make_flow, folder)


def _round(
    whom: str, moments: random.Random, workspace: Workspace, make_flow: Callable[..., Path], folder: Path
) -> None:
    calls, data, name = folder / "calls", folder / "rows.jsonl", f"round-{folder.name}"
    calls.touch()
    data.write_text("".join(json.dumps({"n": number}) + "\n" for number in range(LINES)))
    flow = make_flow(FLOW, step=STEP.format(calls=str(calls)))
    command = [sys.executable, "-m", "studiolo", "flow", "run", "--flow", str(flow), "--concurrency", "4"]
    command += ["--data", str(data), "--name", name]
    environment = os.environ | workspace.settings.environment() | {"STUDIOLO_HOME": str(workspace.home)}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": environment}
    child = subprocess.Popen(command, start_new_session=True, **quiet)  # type: ignore[call-overload]
    if moments.random() < 0.7:
        moment = moments.randrange(LINES - 10)
        _wait_until(lambda: len(calls.read_text().split()) > moment, child)
    else:  # any moment from the first one on: there may be no run yet, or no worker, or nothing left to do
        time.sleep(moments.uniform(0, 2))
    family = [psutil.Process(child.pid), *psutil.Process(child.pid).children(recursive=True)]
    _kill(whom, child, family)
    if whom == "worker":
        assert child.wait(60) == 0  # it replaced the worker and went on
    else:
        child.wait(60)
        _, alive = psutil.wait_procs(family[1:], timeout=10)
        assert alive == [], "a worker outlived its run"
        noted = Counter(map(int, calls.read_text().split()))
        before = _written(workspace, name)
        if before is None:
            assert not noted, "a line ran before there was a run"
            _complete(command, environment)
        elif workspace.runs.get(name).status != "FINISHED":
            assert workspace.runs.get(name).status == "KILLED"
            _complete([*command, "--resume-from", name], environment)
        again = Counter(map(int, calls.read_text().split()))
        assert all(again[number] == noted[number] for number in before or ()), "a finished line ran again"
    run = workspace.runs.get(name)
    written = Counter(line.number for line in read_log(run.directory / LOG))
    assert (run.status, run.metrics["lines.completed"]) == ("FINISHED", LINES)
    assert written == Counter(range(LINES))


def _complete(command: list[str], environment: dict[str, str]) -> None:
    done = subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 0, done.stderr.decode()


def _kill(whom: str, child: subprocess.Popen[bytes], family: list[psutil.Process]) -> None:
    if whom == "parent":
        os.kill(child.pid, signal.SIGKILL)
    elif whom == "terminal":
        os.killpg(child.pid, signal.SIGHUP)
    else:
        for worker in family[1:]:
            with suppress(psutil.Error):  # it has ended meanwhile
                if "flows.worker" in worker.cmdline():
                    worker.kill()


def _written(workspace: Workspace, name: str) -> set[int] | None:
    """Return the lines in the run's log, None where the run has not begun."""
    try:
        return {line.number for line in read_log(workspace.runs.get(name).directory / LOG)}
    except NotFound:
        return None


def _wait_until(reached: Callable[[], bool], child: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and child.poll() is None:
        if reached():
            return
        time.sleep(0.002)
    if child.poll() is None:
        pytest.fail("the run did not get that far")

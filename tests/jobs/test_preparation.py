"""The Python of a job: made when it is first asked for, found at once from then on, given up when somebody cancels."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jobs import records
from jobs.folders import attempt_folder
from jobs.submit import cancel, stream, submit, wait
from tests.jobs.conftest import LONG, Submit, job_of, until
from tests.jobs.wheels import slow_package, wheel
from workspace.errors import NotFound
from workspace.home import Workspace

COMMAND = "tinything; python -c 'import sys, tinything; print(tinything.VERSION, sys.prefix)'"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS", "never")


def environment(folder: Path, *packages: str, python: str = "") -> str:
    first = f'"python={python}", ' if python else ""
    listed = ", ".join(f'"{each}"' for each in ("--no-index", f"--find-links {folder}", *packages))
    return f"environment:\n  conda_file: {{dependencies: [{first}{{pip: [{listed}]}}]}}\n"


def test_it_is_made_once_and_found_at_once_from_then_on(workspace: Workspace, run: Submit, tmp_path: Path) -> None:
    wheel(tmp_path / "wheels")
    first = run(COMMAND, environment(tmp_path / "wheels", "tinything"))
    assert first.spec["prepared"] is None
    ended = wait(workspace, first.name, seconds=LONG)
    assert ended.status == "Completed", b"".join(stream(workspace, first.name))
    second = run(COMMAND, environment(tmp_path / "wheels", "tinything"))
    assert second.spec["prepared"] is not None
    wait(workspace, second.name, seconds=LONG)
    for job in (first, second):
        script, python = b"".join(stream(workspace, job.name)).decode().splitlines()[-2:]
        own = attempt_folder(workspace.home, job.name, 1).path / "python"
        assert script == f"{own} 1.0"
        assert python == f"1.0 {own}"


@pytest.mark.alone
def test_warm_the_script_s_first_line_comes_a_second_after_the_command_at_most(tmp_path: Path) -> None:
    wheel(tmp_path / "wheels")
    script = "python -c 'import time, tinything; print(time.time())'"
    (tmp_path / "job.yml").write_text(f"command: {script}\n{environment(tmp_path / 'wheels', 'tinything')}")
    environ = os.environ | {"STUDIOLO_HOME": str(tmp_path / "home")}
    line = [sys.executable, "-m", "studiolo", "job", "create", "-f", "job.yml", "--stream"]
    took = []
    for _ in range(6):
        began = time.time()
        done = subprocess.run(line, cwd=tmp_path, env=environ, capture_output=True, text=True, check=True)
        took.append(float(done.stdout.splitlines()[-1]) - began)
    assert min(took) < 1.0, took


def test_meanwhile_the_job_is_preparing_and_can_be_cancelled(workspace: Workspace, run: Submit, tmp_path: Path) -> None:
    slow_package(tmp_path / "slow")
    job = run("echo never", environment(tmp_path, str(tmp_path / "slow")))
    until(lambda: (tmp_path / "begun").exists())
    assert records.get(workspace, job.name).status == "Preparing"
    began = time.monotonic()
    cancel(workspace, job.name)
    assert wait(workspace, job.name, seconds=LONG).status == "Canceled"
    assert time.monotonic() - began < 8
    assert b"never" not in b"".join(stream(workspace, job.name))


def test_what_cannot_be_had_fails_the_job_with_its_reason(workspace: Workspace, run: Submit, tmp_path: Path) -> None:
    wheel(tmp_path / "wheels")
    job = wait(workspace, run("true", environment(tmp_path / "wheels", "gone==9")).name, seconds=LONG)
    assert (job.status, job.exit_code) == ("Failed", None)
    assert "gone" in str(job.error)
    assert b"gone" in b"".join(stream(workspace, job.name))


def test_another_python_than_the_one_asked_for_is_said_in_the_log(
    workspace: Workspace, run: Submit, tmp_path: Path
) -> None:
    wheel(tmp_path / "wheels")
    job = run("python -V", environment(tmp_path / "wheels", "tinything", python="3.2"))
    wait(workspace, job.name, seconds=LONG)
    assert b"[studiolo]" in b"".join(stream(workspace, job.name))
    assert b"3.2" in b"".join(stream(workspace, job.name))


def test_a_name_that_nobody_knows_is_refused_when_the_job_is_submitted(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        submit(workspace, job_of(tmp_path, "true", "environment: azureml:no-such-thing:1\n"))

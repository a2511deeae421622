"""Jobs from submit to their one end: results, failures, cancelling, and deaths of everyone involved."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from jobs import records
from jobs.files import read_job
from jobs.files.command import CommandJob
from jobs.submit import cancel, job_folder, start_shim, stream, submit, wait
from workspace.errors import Conflict
from workspace.home import Workspace

LONG = 60.0


def job_file(folder: Path, command: str, rest: str = "") -> Path:
    path = folder / "job.yml"
    path.write_text(f"command: >-\n  {command}\n{rest}")
    return path


def command_job(path: Path) -> CommandJob:
    job = read_job(path)
    assert isinstance(job, CommandJob)
    return job


def started(workspace: Workspace, name: str) -> psutil.Process:
    """Return the shim once the command runs."""
    deadline = time.monotonic() + LONG
    while time.monotonic() < deadline:
        job = records.get(workspace, name)
        if job.status == "Running" and job.shim and (job_folder(workspace, name) / "log.txt").exists():
            return psutil.Process(job.shim.pid)
        time.sleep(0.05)
    raise AssertionError(f"job {name} did not start")


def marked(name: str) -> list[int]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("STUDIOLO_JOB") == name and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def test_a_command_reads_its_inputs_and_its_output_becomes_an_asset(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "rows.txt").write_text("three\nshort\nrows\n")
    rest = "name: count\ninputs:\n  rows:\n    path: rows.txt\noutputs:\n  count: {}\n"
    submit(workspace, command_job(job_file(tmp_path, "wc -l < ${{inputs.rows}} > ${{outputs.count}}/n.txt", rest)))
    job = wait(workspace, "count", seconds=LONG)
    assert (job.status, job.exit_code) == ("Completed", 0)
    output = workspace.assets.get("data", "count-count")
    assert (workspace.assets.path(output) / "n.txt").read_text().strip() == "3"
    assert job.run_id
    assert output.ref in {edge.target for edge in workspace.lineage.downstream(f"run:{job.run_id}")}


def test_a_failing_command_keeps_its_exit_code_and_its_log(workspace: Workspace, tmp_path: Path) -> None:
    submit(workspace, command_job(job_file(tmp_path, "echo before; exit 7", "name: seven\n")))
    assert b"".join(stream(workspace, "seven")) == b"before\n"
    job = records.get(workspace, "seven")
    assert (job.status, job.exit_code) == ("Failed", 7)


def test_cancelling_ends_every_process_also_one_that_left_the_group(workspace: Workspace, tmp_path: Path) -> None:
    submit(workspace, command_job(job_file(tmp_path, "setsid sleep 300 & sleep 300", "name: slow\n")))
    started(workspace, "slow")
    cancel(workspace, "slow")
    assert wait(workspace, "slow", seconds=LONG).status == "Canceled"
    assert marked("slow") == []


def test_a_job_over_its_time_limit_fails(workspace: Workspace, tmp_path: Path) -> None:
    rest = "name: late\nlimits:\n  timeout: 0.5\n"
    submit(workspace, command_job(job_file(tmp_path, "sleep 300", rest)))
    assert wait(workspace, "late", seconds=LONG).status == "Failed"


def test_a_killed_shim_is_noticed_and_its_command_does_not_live_on(workspace: Workspace, tmp_path: Path) -> None:
    submit(workspace, command_job(job_file(tmp_path, "sleep 300", "name: orphan\n")))
    started(workspace, "orphan").send_signal(signal.SIGKILL)
    job = wait(workspace, "orphan", seconds=LONG)
    assert (job.status, "died" in (job.error or "")) == ("Failed", True)
    assert marked("orphan") == []


def test_a_second_shim_does_not_run_the_job_again(workspace: Workspace, tmp_path: Path) -> None:
    submit(workspace, command_job(job_file(tmp_path, "echo once", "name: once\n")))
    for _ in range(3):
        start_shim(workspace, "once")
    wait(workspace, "once", seconds=LONG)
    while any("jobs.shim" in " ".join(child.cmdline()) for child in psutil.Process(os.getpid()).children()
              if child.status() != psutil.STATUS_ZOMBIE):  # fmt: skip
        time.sleep(0.05)
    assert (job_folder(workspace, "once") / "log.txt").read_bytes() == b"once\n"


def test_a_name_is_given_once(workspace: Workspace, tmp_path: Path) -> None:
    job = command_job(job_file(tmp_path, "true", "name: twice\n"))
    submit(workspace, job)
    with pytest.raises(Conflict):
        submit(workspace, job)
    wait(workspace, "twice", seconds=LONG)


def test_a_command_sees_no_secrets_of_ours(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANARY_API_KEY", "canary-7f3a")
    submit(workspace, command_job(job_file(tmp_path, "env", "name: env\n")))
    assert b"canary" not in b"".join(stream(workspace, "env"))

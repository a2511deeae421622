"""What tests of faults use: a supervisor to be killed, commands that write down that they ran, what is left of jobs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from jobs import records
from jobs.leftovers import mark, marked
from jobs.linux import die_with
from jobs.records import JobRecord
from tests.jobs.conftest import until
from workspace.home import Workspace


@contextmanager
def supervisor(workspace: Workspace) -> Iterator[subprocess.Popen[bytes]]:
    """A process that sees to the jobs, as the control plane does."""
    own = os.getpid()
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "jobs.reconcile"],
        env=os.environ | workspace.settings.environment(),
        preexec_fn=lambda: die_with(own),
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def counted(folder: Path) -> str:
    """Return the start of a command that leaves a line a run in a file, each in one write."""
    return f"echo $STUDIOLO_JOB $STUDIOLO_ATTEMPT >> {folder}/ran; "


def runs(folder: Path) -> list[str]:
    return (folder / "ran").read_text().splitlines() if (folder / "ran").exists() else []


def shim_of(workspace: Workspace, name: str) -> psutil.Process:
    until(lambda: records.get(workspace, name).status == "Running")
    shim = records.get(workspace, name).shim
    assert shim
    return psutil.Process(shim.pid)


def left_of(job: JobRecord) -> list[int]:
    return [pid for number in range(1, job.attempt + 1) for pid in marked(mark(str(job.run_id), number))]

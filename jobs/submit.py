"""Submitting a job, following its log, waiting for its end and cancelling it."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from jobs import records
from jobs.files.command import CommandJob
from jobs.files.expressions import render
from jobs.files.plain import plain
from jobs.records import JobRecord
from workspace.errors import Unavailable
from workspace.home import Workspace

POLL = 0.05  # seconds between looks at a log or a status


def submit(workspace: Workspace, job: CommandJob) -> JobRecord:
    """Record the job and start its shim; the job goes on whatever happens to this process."""
    name = job.name or f"{job.folder.name or 'job'}_{secrets.token_hex(4)}"
    spec = plain(job) | {
        "folder": str(job.folder),
        "code": None,
        "inputs": {key: plain(value) for key, value in job.inputs.items()},
        "outputs": list(job.outputs),
        "environment_variables": {key: render(value) for key, value in job.environment_variables.items()},
        "tags": {key: value or "" for key, value in job.tags.items()},
        "timeout": job.timeout,
    }
    if isinstance(job.code, Path):
        spec["code"] = workspace.assets.put("component", f"{name}-code", job.code).ref
    record = records.add(workspace, name, "command", spec)
    start_shim(workspace, name)
    return record


def start_shim(workspace: Workspace, name: str) -> None:
    """Start the process that owns the job, in a session of its own. A second one for the same job ends at once."""
    folder = job_folder(workspace, name)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (folder / "shim.log").open("ab") as log:
        subprocess.Popen(
            [sys.executable, "-m", "jobs.shim", name],
            env=os.environ | workspace.settings.environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            close_fds=True,
        )


def job_folder(workspace: Workspace, name: str) -> Path:
    """Return the folder of a job: its log, its working copy of the code and its outputs."""
    return workspace.home / "jobs" / name


def stream(workspace: Workspace, name: str) -> Iterator[bytes]:
    """Yield the log as it grows, byte for byte, until the job has ended and everything was read."""
    path = job_folder(workspace, name) / "log.txt"
    offset = 0
    while True:
        ended = records.get(workspace, name).ended
        if path.exists():
            with path.open("rb") as log:
                log.seek(offset)
                while chunk := log.read(65536):
                    offset += len(chunk)
                    yield chunk
        if ended:
            return
        time.sleep(POLL)


def wait(workspace: Workspace, name: str, *, seconds: float | None = None) -> JobRecord:
    """Return the job once it has ended; raise Unavailable where that takes longer than `seconds`."""
    deadline = None if seconds is None else time.monotonic() + seconds
    while not (job := records.get(workspace, name)).ended:
        if deadline is not None and time.monotonic() > deadline:
            raise Unavailable(f"job {name!r} is still {job.status} after {seconds:g} s")
        time.sleep(POLL)
    return job


def cancel(workspace: Workspace, name: str) -> JobRecord:
    """Ask a job to end: SIGTERM to all its processes, SIGKILL ten seconds later. An ended job stays as it is."""
    if not records.move(workspace, name, old=("Queued",), new="Canceled", ended_at=time.time()):
        records.move(workspace, name, old=("Starting", "Running"), new="CancelRequested")
    return records.get(workspace, name)

"""Ending what does a job, without a warning."""

from __future__ import annotations

import json
import os
import signal

from jobs import records
from jobs.folders import attempt_folder
from workspace.home import Workspace


def kill(workspace: Workspace, name: str, who: str) -> None:
    """Kill the process of a parent, or the shim that owns it."""
    job = records.get(workspace, name)
    if who == "shim":
        assert job.shim is not None
        os.kill(job.shim.pid, signal.SIGKILL)
        return
    running = attempt_folder(workspace.home, name, job.attempt).running
    os.kill(json.loads(running.read_text())["pid"], signal.SIGKILL)

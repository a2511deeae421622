"""What a job leaves behind: every descendant carries the job's name in its environment, so that it can be found."""

from __future__ import annotations

import os

import psutil

MARKER = "STUDIOLO_JOB"


def end_leftovers(name: str) -> int:
    """Kill what the job `name` left running, in whatever session or group; return how many processes that were."""
    ended = 0
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get(MARKER) == name:
                process.kill()
                ended += 1
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return ended

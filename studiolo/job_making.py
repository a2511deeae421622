"""Making jobs from outside: for the command line, for Python, and for whoever else begins one for a person."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from jobs.create import create
from jobs.submit import Wishes

if TYPE_CHECKING:
    from jobs.files.command import Job
    from jobs.records import JobRecord
    from workspace.home import Workspace

# What starts MLflow's server for a job that speaks to it while the studio is down.
TRACKING = (sys.executable, "-P", "-m", "studiolo.tracking_server")


def make(workspace: Workspace, job: Job, *, retries: int | None = None) -> JobRecord:
    """Begin a job; it goes on when this process has ended, and finds MLflow whether the studio is up or not."""
    return create(workspace, job, Wishes(retries=retries, tracking=TRACKING))

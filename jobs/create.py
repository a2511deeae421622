"""The one door by which a job of any kind begins: what was read from a file becomes a job of this workspace."""

from __future__ import annotations

from jobs.files.command import CommandJob, Job
from jobs.records import JobRecord
from jobs.submit import Wishes, submit
from workspace.errors import Invalid
from workspace.home import Workspace


def create(workspace: Workspace, job: Job, wishes: Wishes | None = None) -> JobRecord:
    """Record a job, begin it where there is room, and return at once; it goes on whatever happens to this process."""
    if isinstance(job, CommandJob):
        return submit(workspace, job, wishes)
    raise Invalid(f"jobs of type {type(job).__name__} cannot be run")

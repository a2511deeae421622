"""Following a job to its end, and how a command ends when the job has failed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from workspace.errors import StudioloError

if TYPE_CHECKING:
    from jobs.records import JobRecord
    from workspace.home import Workspace


def followed(workspace: Workspace, name: str) -> JobRecord:
    """Show what a job says until it has ended; whoever interrupts this leaves the job as it is."""
    from jobs import submit
    from studiolo.commands.waiting import waiting

    try:
        with waiting(workspace, name) as begun:
            for chunk in submit.stream(workspace, name):
                begun()
                sys.stdout.buffer.write(chunk)
                sys.stdout.buffer.flush()
    except KeyboardInterrupt:
        typer.echo(f"\nthe job goes on; `studiolo job stream {name}` follows it again, `job cancel` ends it", err=True)
        raise
    return submit.wait(workspace, name)


def failure(job: JobRecord) -> StudioloError | None:
    """Return the error of a job that has not completed."""
    if job.status == "Completed":
        return None
    ended = f" with exit code {job.exit_code}" if job.exit_code is not None else ""
    hint = job.error or f"studiolo job show {job.name}"
    return StudioloError(f"job {job.name!r} {job.status.lower()}{ended}", hint=hint)

"""Which trainings there are: jobs of kind `finetune`, newest first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobs import records

if TYPE_CHECKING:
    from jobs.records import JobRecord
    from workspace.home import Workspace

KIND = "finetune"
_ALL = 1_000_000


def trainings(workspace: Workspace, *, limit: int) -> list[JobRecord]:
    """Return the newest trainings first."""
    return [job for job in records.list_jobs(workspace, limit=_ALL) if job.kind == KIND][:limit]

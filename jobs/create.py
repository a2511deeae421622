"""The one door by which a job of any kind begins: what was read from a file becomes a job of this workspace."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from jobs.files.command import CommandJob, Job
from jobs.records import JobRecord
from jobs.submit import Wishes, submit
from workspace.errors import Invalid
from workspace.home import Workspace

if TYPE_CHECKING:
    from jobs.files.parallel_job import ParallelJob
    from jobs.files.pipeline import PipelineJob
    from jobs.files.spark import SparkJob
    from jobs.files.transfer_nodes import ExportDataJob, ImportDataJob, ImportJob
    from jobs.monitors.job import MonitorJob

# Jobs that floors above ours do: the class, or one that it is made of, and the function that submits it.
ABOVE = {
    "TuneJob": "studiolo.tuning.submission:submit_tuning",
    "FineTuningJob": "studiolo.tuning.submission:submit_fine_tuning",
    "AutoMLJob": "studiolo.automl_jobs:submit_automl",
}


def create(workspace: Workspace, job: Job, wishes: Wishes | None = None) -> JobRecord:
    """Record a job, begin it where there is room, and return at once; it goes on whatever happens to this process."""
    if isinstance(job, CommandJob):
        return submit(workspace, job, wishes)
    if type(job).__name__ == "SweepJob":
        from jobs.parents import submit_parent  # here: it imports this module

        return submit_parent(workspace, job, kind="sweep", module="jobs.sweeps.conduct", wishes=wishes)
    if type(job).__name__ == "PipelineJob":
        from jobs.pipelines.submission import submit_pipeline

        return submit_pipeline(workspace, cast("PipelineJob", job), wishes)
    if type(job).__name__ == "ParallelJob":
        from jobs.parallel.step import submit_parallel

        return submit_parallel(workspace, cast("ParallelJob", job), wishes)
    if type(job).__name__ == "SparkJob":
        from jobs.spark import submit_spark

        return submit_spark(workspace, cast("SparkJob", job), wishes)
    if type(job).__name__ == "ImportDataJob":
        from jobs.imports import submit_import

        return submit_import(workspace, cast("ImportDataJob", job), wishes)
    if type(job).__name__ == "ImportJob":
        from jobs.imports import of_import, submit_import

        imported = cast("ImportJob", job)
        return submit_import(workspace, of_import(imported, imported.outputs), wishes)
    if type(job).__name__ == "ExportDataJob":
        from jobs.exports import submit_export

        return submit_export(workspace, cast("ExportDataJob", job), wishes)
    if type(job).__name__ == "MonitorJob":
        from jobs.monitors.job import submit_monitor

        return submit_monitor(workspace, cast("MonitorJob", job), wishes)
    for made in type(job).__mro__:
        if made.__name__ in ABOVE:
            module, _, name = ABOVE[made.__name__].partition(":")
            begin: Callable[[Workspace, Job, Wishes | None], JobRecord] = getattr(importlib.import_module(module), name)
            return begin(workspace, job, wishes)
    raise Invalid(f"jobs of type {type(job).__name__} cannot be run")

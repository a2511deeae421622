"""A training becomes a job: base, data and room are settled, then it is written down and goes on by itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.files.ports import Input
from jobs.files.references import target
from jobs.needs import Capacity, Needs, needs_of
from jobs.parents import submit_parent
from studiolo.tuning.bases import base_of
from studiolo.tuning.listing import KIND

if TYPE_CHECKING:
    from finetune.language.spec import Rows, TuneJob
    from jobs.files.finetuning import FineTuningJob
    from jobs.records import JobRecord
    from jobs.submit import Wishes
    from workspace.home import Workspace

MODULE = "studiolo.tuning.conduct"


def submit_tuning(workspace: Workspace, job: TuneJob, wishes: Wishes | None = None) -> JobRecord:
    """Record a training and begin it where there is room; it goes on whatever happens to this process."""
    job = settled(workspace, job)
    return submit_parent(workspace, job, kind=KIND, module=MODULE, wishes=wishes, needs=_needs(workspace, job))


def submit_fine_tuning(workspace: Workspace, job: FineTuningJob, wishes: Wishes | None = None) -> JobRecord:
    """Record a fine-tuning job of Azure ML: it is one of ours, told in other words."""
    from studiolo.tuning.azure import as_tuning

    return submit_tuning(workspace, as_tuning(job), wishes)


def settled(workspace: Workspace, job: TuneJob) -> TuneJob:
    """Return a training whose base is one version of an asset, and whose data are inputs of a job."""
    base = base_of(workspace, job.base, job.folder)
    named = f"azureml:{base.name}:{base.version}"
    inputs = {"base": Input(type="custom_model", path=named, mode="direct"), "data": _input(job.data, job.folder)}
    if job.validation is not None:
        inputs["validation"] = _input(job.validation, job.folder)
    return replace(
        job,
        base=named,
        inputs=inputs,
        output=job.output or f"{base.name}-{job.method}",
        display_name=job.display_name or f"{job.method} of {base.name}",
        experiment_name=job.experiment_name or "finetune",
    )


def _input(rows: Rows, folder: Path) -> Input:
    where = target(rows.path, folder)
    is_folder = where.is_dir() if isinstance(where, Path) else False
    return Input(type="uri_folder" if is_folder else "uri_file", path=rows.path)


def _needs(workspace: Workspace, job: TuneJob) -> Needs:
    """Return what it takes of the machine: all cores, unless it says how many."""
    properties = dict(job.resources.properties) if job.resources else {}
    capacity = Capacity.of(workspace.settings)
    properties.setdefault("cpus", capacity.cpus)
    properties.setdefault("gpus", min(len(capacity.devices), job.distributed.processes))
    found = needs_of(properties)
    capacity.check(found)
    return found

"""What of a step's job can run in the foreground: its command, one trial of its sweep, one of its mini-batches."""

from __future__ import annotations

import secrets
import shlex
from dataclasses import replace

from jobs.files.command import CommandJob, Job
from jobs.files.parallel_job import ParallelJob
from jobs.files.sweep import SweepJob
from jobs.parallel import foreground
from jobs.parallel.step import DRIVER, command_of
from jobs.sweeps.conduct import trial_job
from jobs.sweeps.samplers import sampler_for
from jobs.sweeps.trials import Trial, is_maximized
from workspace.errors import Invalid
from workspace.home import Workspace

_WHY_NOT = {
    "spark": "Spark runs it in processes of its own, which no debugger of this terminal reaches",
    "automl": "it is a search of ours, without a script of yours",
}


def in_front(workspace: Workspace, step: str, job: Job) -> CommandJob:
    """Return the command of a step's job that a person runs in front; Invalid where there is none."""
    if isinstance(job, CommandJob):
        return job
    if isinstance(job, SweepJob):
        return _trial(job)
    if isinstance(job, ParallelJob):
        return _mini_batch(workspace, job)
    kind = str(getattr(job, "type", "other"))
    why = _WHY_NOT.get(kind, f"it is of type {kind}, without a command of yours")
    raise Invalid(
        f"step {step!r} cannot be run in the foreground: {why}", hint="run it as a job: job create, job stream"
    )


def _trial(job: SweepJob) -> CommandJob:
    """Return the first trial of a sweep, with values that its sampler chooses."""
    sampler = sampler_for(
        job.sampling_algorithm, job.search_space, seed=secrets.randbits(32), maximize=is_maximized(job), total=1
    )
    values = sampler.ask(0)
    if values is None:
        raise Invalid("the search space of the sweep has no values")
    return trial_job(job, Trial(0, values))


def _mini_batch(workspace: Workspace, job: ParallelJob) -> CommandJob:
    """Return the command that gives the first mini-batch to the script, in one process."""
    command = command_of(workspace, job)
    line = (
        f'exec python {shlex.quote(foreground.__file__)} "${{{{inputs.{DRIVER}}}}}" {job.task.program_arguments or ""}'
    )
    return replace(command, command=line.strip())

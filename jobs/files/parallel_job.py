"""A parallel step as a job of its own, with everything that its component and its pipeline say of it.

Files hold such jobs as steps of pipelines only; a pipeline that runs makes one for each of these steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from jobs.files.command import Job
from jobs.files.loading import start_made
from jobs.files.parallel import (
    Concurrency,
    ErrorThreshold,
    InputData,
    LoggingLevel,
    MiniBatchErrorThreshold,
    MiniBatchSize,
    ParallelTask,
    PartitionKeys,
    Retries,
)  # fmt: skip
from jobs.files.ports import Inputs, OutputsByName
from jobs.files.record import Record
from jobs.files.resources import Resources, Variables


@dataclass(frozen=True, slots=True, kw_only=True)
class ParallelJob(Job):
    """A script that is given mini-batches of one of its inputs."""

    type: Literal["parallel"] = "parallel"
    task: Annotated[ParallelTask, Record(ParallelTask, open=True), "What is done with each mini-batch."]
    inputs: Inputs = field(default_factory=dict)
    outputs: OutputsByName = field(default_factory=dict)
    input_data: InputData = None
    mini_batch_size: MiniBatchSize = None
    partition_keys: PartitionKeys = ()
    retry_settings: Retries = None
    max_concurrency_per_instance: Concurrency = None
    error_threshold: ErrorThreshold = None
    mini_batch_error_threshold: MiniBatchErrorThreshold = None
    logging_level: LoggingLevel = None
    environment_variables: Variables = field(default_factory=dict)
    resources: Resources | None = None


def parallel_job_of(plain: Mapping[str, Any], folder: Path) -> ParallelJob:
    """Read such a job from plain values: what `plain(job)` gave."""
    found: ParallelJob = Record(ParallelJob).read(start_made(plain, folder), plain)
    return found

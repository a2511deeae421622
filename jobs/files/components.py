"""Components of commands, parallel scripts and Spark applications."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from jobs.files.command import CodeField
from jobs.files.component import Component, Includes, Used
from jobs.files.distribution import DISTRIBUTED_OPENLY, Distribution
from jobs.files.environment_file import EnvironmentField
from jobs.files.parallel import (
    Concurrency,
    ErrorThreshold,
    InputData,
    LoggingLevel,
    MiniBatchErrorThreshold,
    MiniBatchSize,
    PartitionKeys,
    Retries,
    Task,
    check_size,
)  # fmt: skip
from jobs.files.reading import Place
from jobs.files.record import Mark, Record
from jobs.files.resources import ComponentResources, QueueSettings
from jobs.files.shapes import Anything, Named
from jobs.files.spark import Conf, EntryField, Files, SparkEnvironment, refuse_doubles


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandComponent(Component):
    """A command with declared inputs and outputs."""

    type: Literal["command"] = "command"
    command: Annotated[str, "What bash runs in the code's folder."]
    environment: EnvironmentField
    code: CodeField = None
    resources: ComponentResources | None = None
    distribution: Annotated[Distribution | None, DISTRIBUTED_OPENLY, "Several processes or nodes."] = None
    queue_settings: QueueSettings | None = None
    properties: Annotated[Mapping[str, Any], Named(Anything())] = field(default_factory=dict)
    environment_variables: Annotated[
        Mapping[str, Any] | None,
        Named(Anything(), key=Anything()),
        Mark.NULLABLE,
        "Variables, where its step has none of that name.",
    ] = field(default_factory=dict)
    additional_includes: Includes = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ParallelComponent(Component):
    """A script that is given mini-batches."""

    type: Literal["parallel"]
    resources: ComponentResources | None = None
    logging_level: LoggingLevel = None
    task: Task = None
    mini_batch_size: MiniBatchSize = None
    partition_keys: PartitionKeys = ()
    input_data: InputData = None
    retry_settings: Retries = None
    max_concurrency_per_instance: Concurrency = None
    error_threshold: ErrorThreshold = None
    mini_batch_error_threshold: MiniBatchErrorThreshold = None

    def settle(self, place: Place, _: Mapping[str, Any]) -> ParallelComponent:
        check_size(place, self.mini_batch_size)
        if self.task is None:
            place.object("no-task", "a parallel component needs a `task`")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class SparkComponent(Component):
    """A Spark application with declared inputs and outputs."""

    type: Literal["spark"] = "spark"
    entry: EntryField
    code: CodeField = None
    py_files: Annotated[Files, "Put on the Python path."] = ()
    jars: Annotated[Files, "Put on the class path."] = ()
    files: Annotated[Files, "Laid beside the script."] = ()
    archives: Annotated[Files, "Unpacked beside the script."] = ()
    conf: Conf = field(default_factory=dict)
    properties: Annotated[Mapping[str, Any], Named(Anything())] = field(default_factory=dict)
    environment: SparkEnvironment = None
    args: Annotated[str | None, "What the script is given."] = None
    additional_includes: Annotated[tuple[str, ...], "Files that are laid beside the code."] = ()

    def settle(self, place: Place, _: Mapping[str, Any]) -> SparkComponent:
        for key in ("py_files", "jars", "files", "archives"):
            refuse_doubles(place.under(key), getattr(self, key))
        return self


COMMAND = Used(Record(CommandComponent, open=True))
TRIAL = Used(Record(CommandComponent, open=True), registry=False)
PARALLEL = Used(Record(ParallelComponent, open=True))
SPARK = Used(Record(SparkComponent, open=True))

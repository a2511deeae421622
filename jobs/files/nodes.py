"""Steps of a pipeline: a component, and what it is given beside what the component says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from jobs.files.component import Component
from jobs.files.components import COMMAND, PARALLEL, SPARK, TRIAL
from jobs.files.distribution import DISTRIBUTION
from jobs.files.environment_file import EnvironmentOf
from jobs.files.parallel import ParallelTask, RetrySettings, check_size
from jobs.files.ports import InputValue, Output, Value
from jobs.files.reading import Origin, Place
from jobs.files.record import Mark, NoEffect, Record
from jobs.files.references import Reference
from jobs.files.resources import (
    CommandLimits,
    Compute,
    EnvironmentVariables,
    JobIdentity,
    QueueSettings,
    Resources,
    Service,
)  # fmt: skip
from jobs.files.search_space import SPACE
from jobs.files.shapes import Anything, Choice, Definitions, Either, Many, Named, Schema, Text, Whole, named
from jobs.files.spark import ENTRY, SparkResources
from jobs.files.sweep import EARLY_TERMINATION, Objective, SamplingShape, SweepLimits

_SAID = NoEffect("the component says it")
PARENT_OUTPUT = re.compile(r"\$\{\{parent\.outputs\.(.*?)\}\}")


@dataclass(frozen=True, slots=True)
class NodeOutputs:
    """The outputs of a step, by name: `${{parent.outputs.x}}`, an Output, or nothing; a text becomes a path.

    `loose`: a text that is no such expression is let through, as Azure ML does with jobs written in place.
    """

    loose: bool = False

    def read(self, place: Place, value: Any) -> dict[str, Output]:
        found = Named(Anything()).read(place, value)
        return {name: self._output(place.under(name), each) for name, each in found.items()}

    def schema(self, definitions: Definitions) -> Schema:
        one = {"anyOf": [{"type": "string"}, Record(Output).schema(definitions), {"type": "null"}]}
        return {"type": "object", "additionalProperties": one}

    def _output(self, place: Place, value: Any) -> Output:
        if value is None:
            return Output()
        if isinstance(value, str):
            if not self.loose and not PARENT_OUTPUT.match(value):
                hint = "write ${{parent.outputs.NAME}}, or a mapping"
                raise place.wrong(f"must be bound to an output of the pipeline, unlike {value!r}", hint=hint)
            return Output(path=value)
        if not isinstance(value, Mapping):
            raise place.wrong(f"must be an expression or a mapping, not {named(value)}")
        made: Output = Record(Output).read(place, value)
        return made


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """What every step says. Expressions may stand for most values: `pipeline.settled` gives the step with the values.

    `inline`: its component was written in place as a job, so that its ports are as what they are given.
    """

    origin: Origin
    inline: Annotated[bool, Mark.HIDDEN] = False
    inputs: Annotated[Mapping[str, Value], Named(InputValue()), "Literals, data, expressions."] = field(
        default_factory=dict
    )
    outputs: Annotated[Mapping[str, Output], NodeOutputs(), "Where its outputs go."] = field(default_factory=dict)
    properties: Annotated[Mapping[str, str | None], "Kept with it."] = field(default_factory=dict)
    comment: Annotated[str, "For people."] = ""
    name: Annotated[Any, Anything(), NoEffect("a step is called by its key")] = None
    display_name: Annotated[Any, Anything(), "A name for people."] = None
    description: Annotated[Any, Anything(), "What it does."] = None
    tags: Annotated[Any, Anything(), "Words to find it by."] = None
    experiment_name: Annotated[Any, Anything(), NoEffect("the experiment is the pipeline's")] = None

    @property
    def key(self) -> str:
        """What the pipeline calls it."""
        return str(self.origin.steps[-1]) if self.origin.steps else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandNode(Node):
    """A step that runs a command."""

    type: Literal["command"] = "command"
    component: Annotated[Component | Reference, COMMAND, "What it runs."]
    compute: Compute = None
    command: Annotated[str | None, _SAID] = None
    code: Annotated[Any, Text(), Mark.NULLABLE, _SAID] = None
    environment: Annotated[Any, Either((EnvironmentOf(),)), "Instead of the component's."] = None
    environment_variables: Annotated[Any, Either((EnvironmentVariables(),)), "Variables of the step."] = None
    resources: Annotated[Any, Record(Resources), "Instead of the component's."] = None
    distribution: Annotated[Any, Either((DISTRIBUTION,)), "Instead of the component's."] = None
    limits: Annotated[Any, Record(CommandLimits), "When it is ended."] = None
    queue_settings: Annotated[Any, Record(QueueSettings), "Which jobs go first."] = None
    identity: JobIdentity = None
    services: Annotated[Any, Named(Either((Record(Service),)))] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepNode(Node):
    """A step that runs a command with many values."""

    type: Literal["sweep"] = "sweep"
    trial: Annotated[Component | Reference, TRIAL, "What each trial runs."]
    compute: Compute = None
    search_space: Annotated[Any, Named(Either((SPACE,))), "What is searched, by the trial's inputs."] = None
    objective: Annotated[Any, Record(Objective), "What is best."]
    sampling_algorithm: Annotated[Any, Either((SamplingShape(),)), "How values are chosen."] = None
    early_termination: Annotated[Any, Either((EARLY_TERMINATION,)), "Which trials are ended early."] = None
    limits: Annotated[Any, Record(SweepLimits), "How many trials."]
    queue_settings: Annotated[Any, Record(QueueSettings)] = None
    resources: Annotated[Any, Record(Resources)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ParallelNode(Node):
    """A step that works on mini-batches."""

    type: Literal["parallel"] = "parallel"
    component: Annotated[Component | Reference, PARALLEL, "What it runs."]
    compute: Compute = None
    logging_level: Annotated[Any, Choice(("WARNING", "INFO", "DEBUG"), "exact")] = None
    task: Annotated[Any, Record(ParallelTask, open=True), "Instead of the component's."] = None
    mini_batch_size: Annotated[str | None, "Files, or bytes of a table: `10`, `10kb`."] = None
    partition_keys: Annotated[Any, Many(Text()), "What makes the mini-batches."] = None
    input_data: Annotated[str | None, "The input that is divided."] = None
    resources: Annotated[Any, Record(Resources), "Instead of the component's."] = None
    retry_settings: Annotated[Any, Record(RetrySettings, open=True), "How often one is tried again."] = None
    max_concurrency_per_instance: Annotated[Any, Whole(), "Workers a node."] = None
    error_threshold: Annotated[Any, Whole(), "How many items may fail."] = None
    mini_batch_error_threshold: Annotated[Any, Whole(), "How many mini-batches may fail."] = None
    environment_variables: Annotated[Any, Either((EnvironmentVariables(),)), "Variables of the step."] = None
    identity: JobIdentity = None

    def settle(self, place: Place, _: Mapping[str, Any]) -> ParallelNode:
        check_size(place, self.mini_batch_size)
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class SparkNode(Node):
    """A step that runs a Spark application."""

    type: Literal["spark"] = "spark"
    component: Annotated[Component | Reference, SPARK, "What it runs."]
    compute: Compute = None
    resources: Annotated[Any, Record(SparkResources)] = None
    entry: Annotated[Any, ENTRY, "Instead of the component's."] = None
    py_files: Annotated[Any, Many(Text())] = None
    jars: Annotated[Any, Many(Text())] = None
    files: Annotated[Any, Many(Text())] = None
    archives: Annotated[Any, Many(Text())] = None
    conf: Annotated[Any, Named(Anything()), "What Spark is told, beside what the component says."] = None
    args: Annotated[str | None, "Instead of the component's."] = None
    environment: Annotated[Any, Either((EnvironmentOf(),)), Mark.NULLABLE, "Instead of the component's."] = None
    code: Annotated[Any, Text(), Mark.NULLABLE, _SAID] = None
    identity: JobIdentity = None

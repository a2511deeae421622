"""Jobs written in place of a step's component: each becomes a step whose component has no name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from jobs.files.command import CommandJob
from jobs.files.components import CommandComponent, ParallelComponent, SparkComponent
from jobs.files.nodes import CommandNode, Node, NodeOutputs, ParallelNode, SparkNode
from jobs.files.parallel import ParallelTask, RetrySettings, check_size
from jobs.files.ports import Input, InputPort, Output, OutputPort, Value
from jobs.files.reading import Place
from jobs.files.record import Record
from jobs.files.resources import EnvironmentVariables, JobIdentity, Resources
from jobs.files.shapes import Choice, Either, Many, Text, Whole
from jobs.files.spark import SparkJob

LooseOutputs = Annotated[Mapping[str, Output], NodeOutputs(loose=True), "Where its outputs go."]


@dataclass(frozen=True, slots=True, kw_only=True)
class InlineCommand(CommandJob):
    """A command job written in place."""

    outputs: LooseOutputs = field(default_factory=dict)

    def settle(self, place: Place, written: Mapping[str, Any]) -> CommandNode:  # type: ignore[override]  # it becomes a step
        CommandJob.settle(self, place, written)
        component = CommandComponent(
            origin=self.origin, command=self.command, environment=self.environment, code=self.code,
            inputs=ports_in(self.inputs), outputs=ports_out(self.outputs),
        )  # fmt: skip
        return CommandNode(
            origin=self.origin, inline=True, component=component, inputs=self.inputs, outputs=self.outputs,
            compute=self.compute, environment_variables=self.environment_variables, resources=self.resources,
            distribution=self.distribution, limits=self.limits, queue_settings=self.queue_settings,
            identity=self.identity, services=self.services, properties=self.properties,
            display_name=self.display_name, description=self.description, tags=self.tags,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class InlineSpark(SparkJob):
    """A Spark job written in place."""

    outputs: LooseOutputs = field(default_factory=dict)

    def settle(self, place: Place, written: Mapping[str, Any]) -> SparkNode:  # type: ignore[override]  # it becomes a step
        SparkJob.settle(self, place, written)
        component = SparkComponent(
            origin=self.origin, entry=self.entry, code=self.code, py_files=self.py_files, jars=self.jars,
            files=self.files, archives=self.archives, conf=self.conf, environment=self.environment, args=self.args,
            inputs=ports_in(self.inputs), outputs=ports_out(self.outputs),
        )  # fmt: skip
        return SparkNode(
            origin=self.origin, inline=True, component=component, inputs=self.inputs, outputs=self.outputs,
            compute=self.compute, resources=self.resources, identity=self.identity,
            display_name=self.display_name, description=self.description, tags=self.tags,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class InlineParallel(Node):
    """A parallel job written in place."""

    type: Literal["parallel"] = "parallel"
    compute: str | None = None
    task: Annotated[Any, Record(ParallelTask, open=True), "What is done with each mini-batch."] = None
    logging_level: Annotated[Any, Choice(("WARNING", "INFO", "DEBUG"), "exact")] = None
    mini_batch_size: str | None = None
    partition_keys: Annotated[Any, Many(Text())] = ()
    input_data: str | None = None
    resources: Annotated[Any, Record(Resources)] = None
    retry_settings: Annotated[Any, Record(RetrySettings, open=True)] = None
    max_concurrency_per_instance: Annotated[Any, Whole()] = None
    error_threshold: Annotated[Any, Whole()] = None
    mini_batch_error_threshold: Annotated[Any, Whole()] = None
    environment_variables: Annotated[Any, Either((EnvironmentVariables(),))] = None
    identity: JobIdentity = None

    def settle(self, place: Place, _: Mapping[str, Any]) -> ParallelNode:
        check_size(place, self.mini_batch_size)
        if self.task is None:
            place.object("no-task", "a parallel step needs a `task`")
        component = ParallelComponent(
            origin=self.origin, type="parallel", task=self.task, logging_level=self.logging_level,
            mini_batch_size=self.mini_batch_size, partition_keys=tuple(self.partition_keys),
            input_data=self.input_data, retry_settings=self.retry_settings,
            max_concurrency_per_instance=self.max_concurrency_per_instance, error_threshold=self.error_threshold,
            mini_batch_error_threshold=self.mini_batch_error_threshold,
            inputs=ports_in(self.inputs), outputs=ports_out(self.outputs),
        )  # fmt: skip
        return ParallelNode(
            origin=self.origin, inline=True, component=component, inputs=self.inputs, outputs=self.outputs,
            compute=self.compute, resources=self.resources, environment_variables=self.environment_variables,
            identity=self.identity, comment=self.comment, properties=self.properties,
        )  # fmt: skip


def ports_in(inputs: Mapping[str, Value]) -> dict[str, InputPort]:
    """Return the ports that fit what is given; an expression may turn out to be anything."""
    return {name: _port(value) for name, value in inputs.items()}


def ports_out(outputs: Mapping[str, Output]) -> dict[str, OutputPort]:
    """Return the ports that fit where the outputs go."""
    return {name: OutputPort(type=output.type) for name, output in outputs.items()}


def _port(value: Value) -> InputPort:
    if isinstance(value, Input):
        return InputPort(type=value.type, optional=True)
    kinds = {bool: "boolean", int: "integer", float: "number"}
    return InputPort(type=kinds.get(type(value), "string"), optional=True)  # type: ignore[arg-type]  # one of PRIMITIVES


COMMAND_IN_PLACE = Record(InlineCommand)
SPARK_IN_PLACE = Record(InlineSpark)
PARALLEL_IN_PLACE = Record(InlineParallel)

"""From a step of a pipeline to the job that does it: what its component says, what the step says beside, its values."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from jobs.files.command import CommandJob, Job
from jobs.files.component import Component
from jobs.files.components import CommandComponent, ParallelComponent, SparkComponent
from jobs.files.expressions import OPTIONAL, binding, fill, used
from jobs.files.inline_nodes import ports_out
from jobs.files.nodes import CommandNode, Node, ParallelNode, SparkNode, SweepNode
from jobs.files.parallel_job import ParallelJob
from jobs.files.pipeline import PipelineJob, PipelineNode, Settings, settled
from jobs.files.ports import Output, Value
from jobs.files.reading import Origin
from jobs.files.spark import SparkJob, SparkResources
from jobs.files.sweep import Sampling, SweepJob, Trial
from jobs.files.transfer_nodes import CopyJob, CopyNode, ExportDataJob, ImportDataJob, ImportJob, Transfer
from jobs.foreign import check_keys
from jobs.pipelines.copying import command_of
from jobs.pipelines.submission import data_type, promoted
from jobs.pipelines.wiring import Wiring, component_of
from workspace.errors import Invalid

# Of these, the pipeline's expressions are filled in by others, or mean another pipeline.
_APART = ("inputs", "outputs", "component", "trial", "command")
_DATASTORE = "workspaceblobstore"


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What a step has around it: its pipeline."""

    folder: Path
    experiment: str
    settings: Settings
    outputs: Mapping[str, Output]
    compute: str | None = None


def job_of_step(key: str, step: Any, inputs: Mapping[str, Value], *, around: Around, wiring: Wiring, name: str) -> Job:
    """Return the job that does a step; `inputs` are what `wiring.inputs_of` gives, `name` what it will be called."""
    if not isinstance(step, Node | Transfer):
        return _in_place(key, step, around=around, wiring=wiring, name=name)
    if not isinstance(step, PipelineNode) and _is_open(step):
        own = {name: each for name, each in step.origin.written.items() if name not in _APART}
        check_keys(own, wiring.filled, wiring.is_foreign)
        step = settled(step, wiring.filled)
    make = _MAKERS.get(type(step))
    if make is None:
        hint = "write a command that does it"
        raise Invalid(f"steps of type {step.type} cannot be run", hint=hint, at=step.origin.at())
    said: dict[str, Any] = {
        "origin": Origin.made_in(around.folder),
        "name": name,
        "display_name": str(step.display_name or key),
        "experiment_name": around.experiment,
        "description": str(step.description or ""),
        "tags": step.tags if isinstance(step.tags, Mapping) else {},
        "properties": step.properties,
        "compute": getattr(step, "compute", None) or around.settings.default_compute or around.compute,
        "inputs": inputs,
        "outputs": _outputs(step, around, name),
    }
    return make(step, said, around)


def _in_place(key: str, step: Any, *, around: Around, wiring: Wiring, name: str) -> Job:
    """Return a job that was written in place of a component, as AutoML's are."""
    if not isinstance(step, Job):
        hint = "write a command that does it"
        raise Invalid(f"steps of type {step.type} cannot be run", hint=hint, at=step.origin.at())
    check_keys(step.origin.written, wiring.filled, wiring.is_foreign)
    made: Any = settled(cast("Any", step), wiring.filled)
    outputs = {port: replace(output, path=None) for port, output in getattr(made, "outputs", {}).items()}
    job: Job = replace(
        made, name=name, display_name=made.display_name or key, experiment_name=around.experiment,
        compute=made.compute or around.settings.default_compute or around.compute, outputs=outputs,
    )  # fmt: skip
    return job


def _command(step: CommandNode, said: dict[str, Any], _: Around) -> CommandJob:
    component = cast("CommandComponent", step.component)
    _refuse_missing(component, component.command, said["inputs"])
    return CommandJob(
        **said,
        type="command",
        command=component.command,
        code=component.code,
        environment=step.environment or component.environment,
        environment_variables={**(component.environment_variables or {}), **(step.environment_variables or {})},
        resources=step.resources or component.resources,
        distribution=step.distribution or component.distribution,
        limits=step.limits,
        queue_settings=step.queue_settings or component.queue_settings,
        services=step.services or {},
    )


def _sweep(step: SweepNode, said: dict[str, Any], _: Around) -> SweepJob:
    component = cast("CommandComponent", step.trial)
    space = step.search_space or {}
    _refuse_missing(component, component.command, {**said["inputs"], **space})
    inputs = {name: value for name, value in said.pop("inputs").items() if name not in space}
    trial = Trial(
        origin=said["origin"],
        command=_searched(component.command, space),
        code=component.code,
        environment=component.environment,
        environment_variables=component.environment_variables or {},
        resources=component.resources,
        distribution=component.distribution,
    )
    return SweepJob(
        **said,
        type="sweep",
        inputs=inputs,
        trial=trial,
        search_space=space,
        objective=step.objective,
        sampling_algorithm=step.sampling_algorithm or Sampling(type="random"),
        early_termination=step.early_termination,
        limits=step.limits,
        queue_settings=step.queue_settings,
        resources=step.resources,
    )


def _parallel(step: ParallelNode, said: dict[str, Any], _: Around) -> ParallelJob:
    component = cast("ParallelComponent", step.component)
    names = (
        "task", "input_data", "mini_batch_size", "partition_keys", "retry_settings", "max_concurrency_per_instance",
        "error_threshold", "mini_batch_error_threshold", "logging_level", "resources",
    )  # fmt: skip
    merged = {name: _first(getattr(step, name), getattr(component, name)) for name in names}
    if merged["task"] is None:
        raise Invalid(f"{component.label} has no `task`", at=step.origin.at())
    merged["partition_keys"] = tuple(merged["partition_keys"] or ())
    return ParallelJob(**said, **merged, environment_variables=step.environment_variables or {})


def _spark(step: SparkNode, said: dict[str, Any], _: Around) -> SparkJob:
    component = cast("SparkComponent", step.component)
    names = ("entry", "py_files", "jars", "files", "archives", "args", "environment")
    merged = {name: _first(getattr(step, name), getattr(component, name)) for name in names}
    for name in ("py_files", "jars", "files", "archives"):
        merged[name] = tuple(merged[name] or ())
    resources = step.resources and SparkResources(
        instance_type=step.resources.instance_type, runtime_version=step.resources.runtime_version
    )
    return SparkJob(
        **said, **merged, type="spark", code=component.code, conf={**component.conf, **(step.conf or {})},
        resources=resources,
    )  # fmt: skip


def _pipeline(step: PipelineNode, said: dict[str, Any], around: Around) -> PipelineJob:
    own = step.settings or Settings()
    outer = around.settings
    settings = replace(
        own,
        default_compute=own.default_compute or outer.default_compute,
        default_datastore=own.default_datastore or outer.default_datastore,
        continue_on_step_failure=own.continue_on_step_failure and outer.continue_on_step_failure,
        force_rerun=own.force_rerun or outer.force_rerun,
    )
    return PipelineJob(**said, type="pipeline", component=step.component, settings=settings)


def _copy(step: Any, said: dict[str, Any], _: Around) -> CommandJob:
    mode = (step if isinstance(step, CopyJob) else step.component).data_copy_mode
    return CommandJob(**said, type="command", command=command_of(said["inputs"], said["outputs"], mode))


def _import_data(step: ImportDataJob, said: dict[str, Any], _: Around) -> ImportDataJob:
    del said["inputs"]
    return ImportDataJob(**said, type="data_transfer", task="import_data", source=step.source)


def _export_data(step: ExportDataJob, said: dict[str, Any], _: Around) -> ExportDataJob:
    del said["outputs"]
    return ExportDataJob(**said, type="data_transfer", task="export_data", sink=step.sink)


def _import(step: ImportJob, said: dict[str, Any], around: Around) -> ImportDataJob:
    from jobs.imports import of_import  # here: few pipelines import, and it knows databases and the network

    return _import_data(of_import(step, said["outputs"]), said, around)


_MAKERS: Mapping[type, Callable[..., Job]] = {
    ImportJob: _import,
    ImportDataJob: _import_data,
    ExportDataJob: _export_data,
    CopyNode: _copy,
    CopyJob: _copy,
    CommandNode: _command,
    SweepNode: _sweep,
    ParallelNode: _parallel,
    SparkNode: _spark,
    PipelineNode: _pipeline,
}


def _outputs(step: Any, around: Around, name: str) -> dict[str, Output]:
    """Return where a step's outputs go; what is the pipeline's as well gets its name from the pipeline."""
    component = component_of(step)
    ends = promoted(step)
    found = {}
    for port, declared in (component.outputs if component else ports_out(step.outputs)).items():
        said = step.outputs.get(port, Output())
        kind = data_type(declared.type)
        if port in ends:
            outer = around.outputs.get(ends[port])
            kind = outer.type if step.inline and outer else kind
            found[port] = Output(type=kind, mode=said.mode)
            continue
        values = {"name": name, "output_name": port, "default_datastore": _datastore(around.settings)}
        path = fill(said.path, values.__getitem__)
        found[port] = replace(said, type=kind, path=path, name=fill(said.name, values.__getitem__))
    return found


def _datastore(settings: Settings) -> str:
    return (settings.default_datastore or _DATASTORE).removeprefix("azureml:")


def _searched(command: str, space: Mapping[str, Any]) -> str:
    """Return the command of a trial with the searched inputs as what a sweep's command calls them."""
    for name in space:
        command = re.sub(rf"\$\{{\{{\s*inputs\.{re.escape(name)}\s*\}}\}}", f"${{{{search_space.{name}}}}}", command)
    return command


def _refuse_missing(component: Component, command: str, inputs: Mapping[str, Value]) -> None:
    """Raise Invalid where a command needs an input that nothing was given for."""
    always = OPTIONAL.sub(lambda block: "" if used(block[1]) else block[0], command)
    for name in used(always):
        side, _, port = name.partition(".")
        if side == "inputs" and port not in inputs:
            hint = f"give it a value, or write $[[… ${{{{{name}}}}} …]] in the command"
            raise Invalid(f"{component.label} needs the input {port!r}, and nothing was given for it", hint=hint)


def _is_open(step: Any) -> bool:
    """Return whether expressions of the pipeline stand for something beside inputs and outputs."""
    written = step.origin.written
    return any(_has_binding(value) for key, value in written.items() if key not in _APART)


def _has_binding(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_has_binding, value.values()))
    if isinstance(value, list):
        return any(map(_has_binding, value))
    return isinstance(value, str) and any(binding(name) for name in used(value))


def _first(*values: Any) -> Any:
    """Return the first value that says something."""
    return next((value for value in values if value not in (None, (), "")), None)

"""Submitting a pipeline: components that are kept under a name are fetched, then nothing is looked up any more."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from jobs.assets import components
from jobs.files import job_of
from jobs.files.automl import AutoMLJob
from jobs.files.component import Component
from jobs.files.control_flow import DoWhile, IfElse, ParallelFor
from jobs.files.expressions import bindings
from jobs.files.nodes import CommandNode, ParallelNode, SparkNode, SweepNode
from jobs.files.pipeline import PipelineComponent, PipelineJob, PipelineNode
from jobs.files.plain import plain
from jobs.files.ports import PRIMITIVES, Output
from jobs.files.reading import Place, Reading
from jobs.files.record import Record
from jobs.files.references import Reference
from jobs.files.transfer import ImportComponent, import_source
from jobs.files.transfer_nodes import (
    CopyJob,
    CopyNode,
    ExportDataJob,
    ExportDataNode,
    ImportDataJob,
    ImportDataNode,
    ImportJob,
    ImportNode,
)
from jobs.includes import merged
from jobs.parents import submit_parent
from jobs.records import JobRecord
from jobs.submit import Wishes, name_of
from workspace.errors import Invalid
from workspace.home import Workspace

DEEPEST = 20  # pipelines in pipelines
RUN = (
    CommandNode, SweepNode, ParallelNode, SparkNode, PipelineNode, CopyNode, CopyJob, AutoMLJob,
    ImportJob, ImportDataJob, ExportDataJob,
)  # fmt: skip
KINDS = {"command": CommandNode, "parallel": ParallelNode, "spark": SparkNode, "pipeline": PipelineNode}


def submit_pipeline(workspace: Workspace, job: PipelineJob, wishes: Wishes | None = None) -> JobRecord:
    """Record a pipeline and begin it; it goes on whatever happens to this process."""
    whole = complete(workspace, replace(job, name=job.name or name_of(job)))
    return submit_parent(workspace, whole, kind="pipeline", module="jobs.pipelines.process", wishes=wishes)


def complete(workspace: Workspace, job: PipelineJob) -> PipelineJob:
    """Return a pipeline with all components in it, also those that are kept under a name, checked as a whole."""
    found = replace(
        job,
        jobs={key: _with_components(workspace, step, 0) for key, step in job.jobs.items()},
        component=_component(workspace, job.component, 0),
    )
    if not found.steps:
        raise Invalid("the pipeline has no steps", at=job.origin.at())
    found = merged(workspace, found)
    job_of(plain(found), job.folder)  # what a file only names could not be checked when it was read
    return replace(found, outputs=outputs_of_pipeline(found))


def outputs_of_pipeline(job: PipelineJob) -> dict[str, Output]:
    """Return the outputs of a pipeline, each of the type that the step has which gives it."""
    found = dict(job.outputs)
    if isinstance(job.component, PipelineComponent):
        for name, declared in job.component.outputs.items():
            found[name] = replace(found.get(name, Output()), type=data_type(declared.type))
        return found
    for step in job.jobs.values():
        ports = getattr(_component_of(step), "outputs", {})
        for port, name in promoted(step).items():
            if name in found and found[name].type == Output().type and port in ports:
                found[name] = replace(found[name], type=data_type(ports[port].type))
    return found


def promoted(step: Any) -> dict[str, str]:
    """Return which outputs of a step are outputs of its pipeline: `{"model": "trained_model"}`."""
    found = {}
    for port, output in (getattr(step, "outputs", None) or {}).items():
        for end in bindings(output.path):
            if end.node is None and end.side == "outputs":
                found[port] = end.name
    return found


def data_type(kind: str) -> Any:
    """Return what an output is on the disk: a literal is a file that holds it."""
    return "uri_file" if kind in PRIMITIVES else "uri_folder" if kind == "path" else kind


def _with_components(workspace: Workspace, step: Any, depth: int) -> Any:
    if isinstance(step, IfElse | DoWhile | ParallelFor):
        return step
    if isinstance(step, ImportDataNode | ExportDataNode):
        return _written_in_place(step)
    if isinstance(step, ImportNode):
        return _import_in_place(workspace, step)
    if not isinstance(step, RUN):
        hint = "write a command that does it"
        raise Invalid(f"steps of type {step.type} are not run here", hint=hint, at=step.origin.at())
    for key in ("component", "trial"):
        found = getattr(step, key, None)
        if isinstance(found, Reference | PipelineComponent):
            component = _component(workspace, found, depth)
            step = replace(_of_kind(step, component), **{key: component})
    return step


def _written_in_place(step: ImportDataNode | ExportDataNode) -> ImportDataJob | ExportDataJob:
    """Return a step whose component is one of Azure ML's own as the same step without it: what it does is known."""
    said: dict[str, Any] = {
        "origin": step.origin, "type": "data_transfer", "display_name": step.display_name,
        "description": step.description or "", "tags": step.tags or {}, "properties": step.properties,
        "compute": step.compute,
    }  # fmt: skip
    if isinstance(step, ImportDataNode):
        return ImportDataJob(**said, task="import_data", source=step.source, outputs=step.outputs)
    return ExportDataJob(**said, task="export_data", sink=step.sink, inputs=step.inputs)


def _import_in_place(workspace: Workspace, step: ImportNode) -> ImportJob:
    """Return a step that imports by a component as the same step without it."""
    found: Any = step.component
    if isinstance(found, Reference):
        found = components.get(workspace, found)
    if not isinstance(found, ImportComponent):
        raise Invalid(f"{found.label} is a component of type {found.type}", at=step.origin.at("component"))
    given = {name: port.default for name, port in found.source.items() if port.default is not None} | {**step.inputs}
    output = step.outputs.get("output") or Output(type=data_type(found.output.type))
    return ImportJob(
        origin=step.origin, source=import_source(given, at=step.origin.at()), output=output, outputs={"output": output},
        display_name=step.display_name, properties=step.properties,
    )  # fmt: skip


def _of_kind(step: Any, component: Any) -> Any:
    """Return a step as a step of its component's kind: one that names a component need not say which it is."""
    wanted = KINDS.get(component.type)
    if wanted is None or isinstance(step, wanted | SweepNode):
        return step
    if "type" in step.origin.written:
        what = f"{component.label} is a component of type {component.type}, and the step says {step.type}"
        raise Invalid(what, at=step.origin.at("type"))
    place = Place(Reading(step.origin.document), step.origin.steps, bound="yes")
    return Record(wanted, open=True).read(place, step.origin.written)


def _component(workspace: Workspace, found: Any, depth: int) -> Any:
    """Return a component with those that its own steps name."""
    if depth > DEEPEST:
        raise Invalid(f"more than {DEEPEST} pipelines are in each other")
    if isinstance(found, Reference):
        found = components.get(workspace, found)
    if isinstance(found, PipelineComponent):
        jobs: Mapping[str, Any] = found.jobs
        return replace(found, jobs={key: _with_components(workspace, step, depth + 1) for key, step in jobs.items()})
    return found


def _component_of(step: Any) -> Component | None:
    found = getattr(step, "trial", None) or getattr(step, "component", None)
    return found if dataclasses.is_dataclass(found) and isinstance(found, Component) else None

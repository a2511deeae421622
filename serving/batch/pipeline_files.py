"""The pipeline behind a batch endpoint: a component, or a job whose inputs stand where whoever invokes gives none."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from jobs.files import component_of, job_of, read_component, read_job
from jobs.files.inline_nodes import ports_in, ports_out
from jobs.files.pipeline import PipelineComponent, PipelineJob, Settings
from jobs.files.ports import Value
from jobs.files.references import Reference, reference
from serving import yaml_values
from workspace.documents import Document
from workspace.errors import Invalid

if TYPE_CHECKING:
    from workspace.home import Workspace

_UNNAMED = "deployed"  # a component that is written in place has no name, and needs none


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployedPipeline:
    """A pipeline, the values that its inputs have where nothing else is given, and what holds for its steps.

    A reference is a component of the workspace, fetched when the deployment is made.
    """

    component: PipelineComponent | Reference
    values: Mapping[str, Value] = field(default_factory=dict)
    settings: Settings = field(default_factory=Settings)


def read(document: Document) -> DeployedPipeline:
    """Read what a deployment of type pipeline runs."""
    key = "component" if document.get("component") is not None else "job_definition"
    written = document.get(key)
    settings = _settings(document)
    if key == "component" and isinstance(written, str) and (named := reference(written)) is not None:
        return DeployedPipeline(component=named, settings=settings)
    found = _read(document, key, written)
    if isinstance(found, PipelineComponent):
        return DeployedPipeline(component=found, settings=settings)
    if not isinstance(found, PipelineJob):
        raise Invalid(f"`{key}` must be a pipeline, not one of type {found.type}", at=document.at(key))
    return _of_job(found, settings)


def fetched(workspace: Workspace, deployed: DeployedPipeline) -> PipelineComponent:
    """Return the component of a deployment, from the workspace where it is kept there."""
    from jobs.assets import components

    found = deployed.component
    if isinstance(found, Reference):
        kept = components.get(workspace, found)
        if not isinstance(kept, PipelineComponent):
            raise Invalid(f"{found} is of type {kept.type}, not a pipeline")  # type: ignore[attr-defined]
        return kept
    return found


def _read(document: Document, key: str, written: Any) -> Any:
    folder = document.path.parent
    if isinstance(written, Mapping):
        make: Callable[..., Any] = component_of if key == "component" else job_of
        return make({"name": _UNNAMED, **written} if key == "component" else written, folder)
    path = Path(folder / str(written).removeprefix("file:"))
    return read_component(path) if key == "component" else read_job(path)


def _of_job(job: PipelineJob, settings: Settings) -> DeployedPipeline:
    """Return a job as a component and the values that it has."""
    if isinstance(job.component, PipelineComponent | Reference):
        return DeployedPipeline(component=job.component, values=job.inputs, settings=settings)
    component = PipelineComponent(
        origin=job.origin, name=_UNNAMED, jobs=job.jobs, inputs=ports_in(job.inputs), outputs=ports_out(job.outputs)
    )
    return DeployedPipeline(component=component, values=job.inputs, settings=settings)


def _settings(document: Document) -> Settings:
    text = functools.partial(yaml_values.text, document, "settings")
    flag = functools.partial(yaml_values.flag, document, "settings")
    return Settings(
        default_compute=text("default_compute") or None,
        default_datastore=text("default_datastore") or None,
        continue_on_step_failure=flag("continue_on_step_failure", default=True),
        force_rerun=flag("force_rerun"),
    )


def kept(settings: Settings) -> dict[str, Any]:
    """Return settings as the record of a deployment keeps them."""
    return asdict(settings)


def settings_of(kept: Mapping[str, Any]) -> Settings:
    """Read settings from the record of a deployment."""
    return replace(Settings(), **cast("dict[str, Any]", dict(kept)))

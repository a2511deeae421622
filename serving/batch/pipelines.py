"""A pipeline behind a batch endpoint becomes a job: what it was deployed with, and what whoever invokes it gives."""

from __future__ import annotations

from collections.abc import Mapping

from jobs.assets import components
from jobs.files.component import Component
from jobs.files.pipeline import PipelineComponent, PipelineJob
from jobs.files.ports import Input, InputPort, Value
from jobs.files.reading import Origin
from serving.batch import deploying, inputs
from serving.batch.inputs import Given
from serving.batch.pipeline_files import settings_of
from serving.endpoints import Deployment
from workspace.errors import Invalid
from workspace.home import Workspace


def job_of(
    workspace: Workspace, way: Deployment, given: Mapping[str, Given], *, name: str, tags: Mapping[str, str]
) -> PipelineJob:
    """Return the job of a deployment with what it is given."""
    told = way.properties[deploying.PIPELINE]
    component = components.get(workspace, told["component"].removeprefix("component:"))
    if not isinstance(component, PipelineComponent):
        raise Invalid(f"what {way.path} runs is no pipeline", hint="deploy it again")
    values = {key: Input(**each) if isinstance(each, dict) else each for key, each in told["values"].items()}
    for key, each in given.items():
        values[key] = _value(workspace, way, key, each, component)
    _check(way, component, values)
    return PipelineJob(
        origin=Origin.made_in(workspace.home),
        type="pipeline",
        name=name,
        experiment_name=way.endpoint,
        component=component,
        inputs=values,
        settings=settings_of(told["settings"]),
        tags=tags,
    )


def _value(workspace: Workspace, way: Deployment, key: str, given: Given, component: Component) -> Value:
    port: InputPort | None = component.inputs.get(key)
    if port is None:
        known = ", ".join(sorted(component.inputs)) or "none"
        raise Invalid(f"{way.path} has no input {key!r}", hint=f"it has {known}")
    if port.is_primitive:
        if given.value is None:
            raise Invalid(f"input {key!r} is a value, not a path")
        return given.value
    asset = inputs.data(workspace, endpoint=way.endpoint, given=given)
    return Input(type=port.type, path=f"azureml:{asset.ref}")  # type: ignore[arg-type]  # a port of data


def _check(way: Deployment, component: Component, values: Mapping[str, Value]) -> None:
    for key, port in component.inputs.items():
        if port.is_needed and key not in values:
            raise Invalid(f"{way.path} needs the input {key!r}", hint=f"--set inputs.{key}.path=…")

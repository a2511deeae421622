"""Pipelines: what steps take from each other, and whether it is there, fits, and ends."""

from __future__ import annotations

import graphlib
from collections.abc import Iterator, Mapping
from typing import Any

from jobs.checks import components, flow, wires
from jobs.checks.names import leniency, refusal, warning
from jobs.files.component import Component
from jobs.files.control_flow import DoWhile, IfElse, ParallelFor
from jobs.files.nodes import Node
from jobs.files.pipeline import PipelineComponent, PipelineJob, PipelineNode, Step
from jobs.files.reading import Finding, Origin

Flow = DoWhile | IfElse | ParallelFor


def of_pipeline(job: PipelineJob) -> Iterator[Finding]:
    """Yield what cannot be right in a pipeline job."""
    from jobs.checks import problems

    inside = wires.Inside(inputs=job.inputs, outputs=job.outputs, steps=job.jobs)
    yield from _steps(job.origin, inside)
    if isinstance(job.component, PipelineComponent):
        yield from problems(job.component)
        yield from wires.given(job.origin, job.component, job.inputs, job.outputs, wires.Inside.nothing())
    if job.compute is None and job.settings.default_compute is None:
        yield from _without_compute(job.steps)
    yield from _first_and_last(job)


def of_pipeline_component(component: PipelineComponent) -> Iterator[Finding]:
    """Yield what cannot be right in a pipeline component."""
    yield from components.ports(component)
    yield from _steps(
        component.origin, wires.Inside(inputs=component.inputs, outputs=component.outputs, steps=component.jobs)
    )


def _steps(origin: Origin, inside: wires.Inside) -> Iterator[Finding]:
    for key, step in inside.steps.items():
        if isinstance(step, Flow):
            yield from flow.of_flow(key, step, inside.steps)
        else:
            yield from _step(key, step, inside)
    yield from _circles(origin, inside.steps)
    for name in inside.outputs:
        if not any(name in wires.outputs_of_pipeline(step) for step in inside.steps.values()):
            what = f"no step gives the output {name!r} of the pipeline"
            hint = f"write {name}: ${{{{parent.outputs.{name}}}}} under the outputs of a step"
            yield warning("output-of-nobody", what, origin, "outputs", name, hint=hint)


def _step(key: str, step: Any, inside: wires.Inside) -> Iterator[Finding]:
    from jobs.checks import problems

    yield from wires.named(key, step, inside)
    component = wires.component_of(step)
    if isinstance(component, Component) and isinstance(step, Node) and not step.inline:
        yield from problems(component)
        yield from _given(key, step, component, inside)
    yield from flow.of_step(step)


def _given(key: str, step: Node, component: Component, inside: wires.Inside) -> Iterator[Finding]:
    inputs, all_known = dict(step.inputs), True
    for loop in inside.steps.values():
        if not isinstance(loop, ParallelFor) or key not in flow.named_steps((loop.body,)):
            continue
        if isinstance(loop.items, str):
            all_known = False  # what it goes over is known when another step has ended
        elif loop.items:
            inputs |= {name: value for name, value in loop.items[0].items() if name in component.inputs}
    for found in wires.given(step.origin, component, inputs, step.outputs, inside, wires.searched(step)):
        if all_known or found.rule != "input-missing":
            yield found


def _circles(origin: Origin, steps: Mapping[str, Step]) -> Iterator[Finding]:
    waits = {key: wires.waits_for(step) & set(steps) for key, step in steps.items()}
    try:
        graphlib.TopologicalSorter(waits).prepare()
    except graphlib.CycleError as error:
        circle = " → ".join(reversed(error.args[1]))
        yield refusal("circle", f"the steps wait for each other: {circle}", origin, "jobs", error.args[1][0])


def _without_compute(steps: Mapping[str, Step]) -> Iterator[Finding]:
    for key, step in steps.items():
        if isinstance(step, PipelineNode):
            if isinstance(step.component, PipelineComponent):
                yield from _without_compute(step.component.jobs)
        elif not isinstance(step, Flow) and _wants_compute(step) and getattr(step, "compute", None) is None:
            hint = "write default_compute: azureml:local under `settings`"
            what = f"the step {key!r} has no compute, and the pipeline no default; it runs on this machine"
            yield leniency("no-compute", what, step.origin, hint=hint)


def _wants_compute(step: Any) -> bool:
    return type(step).__name__ not in ("SparkNode", "ImportNode", "ImportJob")


def _first_and_last(job: PipelineJob) -> Iterator[Finding]:
    said = {key: getattr(job.settings, key) for key in ("on_init", "on_finalize")}
    for key, name in said.items():
        if name is None:
            continue
        if name not in job.steps:
            yield refusal("no-such-step", f"there is no step {name!r}", job.origin, "settings", key)
        elif isinstance(job.steps[name], Flow):
            yield refusal("no-such-step", f"{name!r} is no step that runs", job.origin, "settings", key)
        elif wires.is_wired(name, job.steps):
            what = f"{name!r} is wired to other steps, and cannot run {'first' if key == 'on_init' else 'last'}"
            yield refusal("wired", what, job.origin, "settings", key)
    names = [name for name in said.values() if name is not None]
    if len(set(names)) < len(names):
        yield refusal("wired", "the first step cannot be the last", job.origin, "settings", "on_finalize")
    if names and not set(job.steps) - set(names):
        yield refusal("no-steps", "there is no other step", job.origin, "jobs")

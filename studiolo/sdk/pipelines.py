"""Pipelines in Python: a function whose calls are the steps, and whose result names the outputs."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, overload

from studiolo.sdk.ports import Input, InputOf, OutputOf, kind_of, plain
from studiolo.sdk.steps import Step, being_built, registered, settings_of
from workspace.errors import Invalid

Builder = Callable[..., Any]
_SETTINGS = ("default_compute", "default_datastore", "continue_on_step_failure", "force_rerun")


@overload
def pipeline(function: Builder) -> Callable[..., Step]: ...
@overload
def pipeline(function: None = None, **said: Any) -> Callable[[Builder], Callable[..., Step]]: ...
def pipeline(function: Builder | None = None, **said: Any) -> Any:
    """Make a function a pipeline. Calling it gives a job; inside another pipeline, a step.

    @pipeline(default_compute="local")
    def train_and_score(rows, rate=0.1):
        trained = train(data=rows, rate=rate)
        scored = score(model=trained.outputs.model)
        return {"scores": scored.outputs.scores}
    """
    if function is None:
        return functools.partial(pipeline, **said)

    @functools.wraps(function)
    def build(*arguments: Any, **given: Any) -> Step:
        values = inspect.signature(function).bind(*arguments, **given)
        values.apply_defaults()
        return registered(_built(function, dict(values.arguments), said))

    return build


def _built(function: Builder, values: dict[str, Any], said: Mapping[str, Any]) -> Step:
    steps: list[Step] = []
    token = being_built.set((*being_built.get(), steps))
    ports = {name: InputOf(name, kind_of(value)) for name, value in values.items() if value is not None}
    try:
        result, names = _observed(function, {name: ports.get(name) for name in values})
    finally:
        being_built.reset(token)
    if not steps:
        raise Invalid(f"pipeline {function.__name__!r} has no steps", hint="call commands or components in it")
    _name(steps, names)
    settings = {key: said[key] for key in _SETTINGS if key in said}
    if "compute" in said:
        settings.setdefault("default_compute", said["compute"])
    own = {key: value for key, value in said.items() if key not in (*_SETTINGS, "compute")}
    if not own.get("display_name"):
        own["display_name"] = own.get("name") or function.__name__
    job = Step("pipeline", {key: value for key, value in own.items() if key != "name"}, folder=Path.cwd())
    job.gives = _promoted(function.__name__, result)
    job.said["jobs"] = {step.key: step.as_node() for step in steps}
    job.said["settings"] = settings_of(settings)
    job.takes = {name: Input(type=port.type) for name, port in ports.items()}
    job.given = {name: value for name, value in values.items() if value is not None}
    job.__dict__["function"] = function.__name__
    return job


def _observed(function: Builder, arguments: Mapping[str, Any]) -> tuple[Any, dict[int, str]]:
    """Call a function; return its result, and what it called each step, by the step's id."""
    code: CodeType = inspect.unwrap(function).__code__
    names: dict[int, str] = {}

    def watch(frame: FrameType, event: str, _argument: Any) -> None:
        if event == "return" and frame.f_code is code:
            names.update({id(value): name for name, value in frame.f_locals.items() if isinstance(value, Step)})

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        return function(**arguments), names
    finally:
        sys.setprofile(before)


def _name(steps: list[Step], names: Mapping[int, str]) -> None:
    """Call each step what the function calls it, or what it says itself; those that share a name are numbered."""
    taken: dict[str, int] = {}
    for step in steps:
        wanted = names.get(id(step)) or str(step.said.get("name") or step.__dict__.get("function") or step.kind)
        wanted = "".join(letter if letter.isalnum() else "_" for letter in wanted.lower())
        count = taken.get(wanted, 0)
        taken[wanted] = count + 1
        step.key = f"{wanted}_{count}" if count else wanted


def _promoted(name: str, result: Any) -> dict[str, Any]:
    """Return what the pipeline leaves: outputs of steps that its function has returned, by name."""
    if result is None:
        return {}
    if not isinstance(result, Mapping) or not all(isinstance(each, OutputOf) for each in result.values()):
        raise Invalid(
            f"pipeline {name!r} must return outputs of its steps by name", hint='{"model": step.outputs.model}'
        )
    gives = {}
    for key, output in result.items():
        said = output.step.left.setdefault(output.port, dict(output.step.gives[output.port]))
        gives[key] = {"type": said.get("type", "uri_folder")}
        output.step.left[output.port] = said | {"path": f"${{{{parent.outputs.{key}}}}}"}
    return plain(gives)  # type: ignore[no-any-return]

"""What a step is wired to: whether the other end exists, and whether what comes from there fits."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from jobs.checks.names import refusal
from jobs.files.component import Component
from jobs.files.control_flow import DoWhile, IfElse, ParallelFor
from jobs.files.expressions import Binding, binding, bindings, is_expression, used
from jobs.files.nodes import Node, SweepNode
from jobs.files.ports import PRIMITIVES, Input, InputPort, Output, OutputPort, Value, typed
from jobs.files.reading import Finding, Origin, Place, Reading, Refused
from workspace.documents import Document, Step
from workspace.errors import did_you_mean

Flow = DoWhile | IfElse | ParallelFor
FILES = ("uri_file",)
FOLDERS = ("uri_folder", "mltable", "mlflow_model", "triton_model")


@dataclass(frozen=True, slots=True, kw_only=True)
class Inside:
    """What a step of a pipeline can be wired to."""

    inputs: Mapping[str, Any]  # of a job values, of a component ports
    outputs: Mapping[str, Any]
    steps: Mapping[str, Any]

    @classmethod
    def nothing(cls) -> Self:
        """Return what there is outside of all pipelines."""
        return cls(inputs={}, outputs={}, steps={})


def component_of(step: Any) -> Any:
    """Return what a step runs: a component, a reference, or None."""
    return step.trial if isinstance(step, SweepNode) else getattr(step, "component", None)


def searched(step: Any) -> Collection[str]:
    """Return the inputs that a sweep gives its trials."""
    spaces = step.search_space if isinstance(step, SweepNode) else None
    return tuple(spaces) if isinstance(spaces, Mapping) else ()


def waits_for(step: Any) -> set[str]:
    """Return the steps that must have ended before this one begins."""
    if isinstance(step, IfElse):
        return {found.node for found in bindings(step.condition) if found.node}
    if isinstance(step, Flow):
        return {found.node for found in bindings(getattr(step, "items", None)) if found.node}
    return {found.node for _, found in _bound(step.inputs) if found.node}


def outputs_of_pipeline(step: Any) -> set[str]:
    """Return the outputs of the pipeline that a step writes."""
    outputs = getattr(step, "outputs", None) or {}
    return {found.name for output in outputs.values() for found in bindings(output.path) if found.node is None}


def is_wired(key: str, steps: Mapping[str, Any]) -> bool:
    """Return whether a step takes something from another, or another from it."""
    if key in steps and waits_for(steps[key]):
        return True
    return any(key in waits_for(step) for step in steps.values())


def named(key: str, step: Any, inside: Inside) -> Iterator[Finding]:
    """Yield the expressions of a step that name nothing in its pipeline."""
    written = step.origin.written
    for steps, text in _texts(written if isinstance(written, Mapping) else {}):
        for name in used(text):
            found = binding(name)
            problem = found and _missing(key, found, inside)
            if problem:
                what, hint = problem
                yield refusal("undeclared", what, step.origin, *steps, hint=hint)


def given(
    origin: Origin,
    component: Component,
    inputs: Mapping[str, Value],
    outputs: Mapping[str, Output],
    inside: Inside,
    other: Collection[str] = (),
) -> Iterator[Finding]:
    """Yield what a component is given and does not take, needs and is not given, or cannot take."""
    for side, ports, names in (("inputs", component.inputs, inputs), ("outputs", component.outputs, outputs)):
        for name in names:
            if name not in ports and not _is_group(name, ports):
                hint = did_you_mean(name, ports)
                what = f"{component.label} has no {side[:-1]} {name!r}"
                yield refusal("no-such-port", what, origin, side, name, hint=hint)
    for name in other:
        if name not in component.inputs:
            hint = did_you_mean(name, component.inputs)
            what = f"{component.label} has no input {name!r}"
            yield refusal("no-such-port", what, origin, "search_space", name, hint=hint)
    for name, port in component.inputs.items():
        is_in_group = any(name.startswith(f"{each}.") for each in inputs)
        if name not in inputs and name not in other and port.is_needed and not is_in_group:
            yield refusal("input-missing", f"{component.label} needs the input {name!r}", origin, "inputs")
        elif name in inputs and (problem := _unfit(port, inputs[name], inside)):
            yield refusal("port-type", f"the input {name!r} {problem}", origin, "inputs", name)


def _unfit(port: InputPort, value: Value, inside: Inside) -> str | None:
    if isinstance(value, Input):
        wires = bindings(value.path)
        if not wires:
            return _unfit_type(port.type, value.type if value.path else port.type)
        return _unfit_type(port.type, _type_at(wires[0], inside)) if is_expression(value.path) else None
    if isinstance(value, str) and bindings(value):
        if is_expression(value):
            return _unfit_type(port.type, _type_at(bindings(value)[0], inside))
        return None if port.type in ("string", "path") else f"is of type {port.type}, and text comes"
    if not port.is_primitive:
        return f"is of type {port.type}, and the literal {value!r} comes"
    return _unfit_literal(port, value)


def _unfit_literal(port: InputPort, value: Any) -> str | None:
    try:
        literal = typed(Place(Reading(Document(Path(), {}))), port.type, value)
    except Refused:
        return f"is of type {port.type}, and {value!r} comes"
    return port.problem(literal)


def _unfit_type(wanted: str, comes: str | None) -> str | None:
    if comes is None or comes == wanted or "path" in (comes, wanted):
        return None
    literals = wanted in PRIMITIVES, comes in PRIMITIVES
    if all(literals):
        fits = wanted == "string" or comes == "string" or (wanted, comes) == ("number", "integer")
    else:
        apart = (wanted in FILES and comes in FOLDERS) or (wanted in FOLDERS and comes in FILES)
        fits = not any(literals) and not apart
    return None if fits else f"is of type {wanted}, and {comes} comes"


def _type_at(wire: Binding, inside: Inside) -> str | None:
    """Return the type of what comes from the other end, or None where that is not known."""
    if wire.node is None:
        return _type_of(inside.inputs.get(wire.name))
    step = inside.steps.get(wire.node)
    component = component_of(step)
    if not isinstance(component, Component) or (wire.side == "inputs" and getattr(step, "inline", False)):
        return None
    port = (component.outputs if wire.side == "outputs" else component.inputs).get(wire.name)
    if port is not None and isinstance(step, Node) and step.inline:
        output = step.outputs.get(wire.name)
        for end in bindings(output.path if output else None):
            return _type_of(inside.outputs.get(end.name))
    return port.type if port else None


def _type_of(value: Any) -> str | None:
    if isinstance(value, InputPort | OutputPort | Input | Output):
        return value.type
    kinds = {bool: "boolean", int: "integer", float: "number", str: "string"}
    return kinds.get(type(value))


def _missing(key: str, wire: Binding, inside: Inside) -> tuple[str, str | None] | None:
    if wire.node is None:
        names = inside.inputs if wire.side == "inputs" else inside.outputs
        if wire.name in names or _is_group(wire.name, names):
            return None
        return f"the pipeline has no {wire.side[:-1]} {wire.name!r}", did_you_mean(wire.name, names)
    if wire.node not in inside.steps:
        return f"there is no step {wire.node!r}", did_you_mean(wire.node, set(inside.steps) - {key})
    ports = _names(inside.steps[wire.node], wire.side)
    if not wire.name or ports is None or wire.name in ports or _is_group(wire.name, ports):
        return None
    return f"the step {wire.node!r} has no {wire.side[:-1]} {wire.name!r}", did_you_mean(wire.name, ports)


def _names(step: Any, side: str) -> Mapping[str, Any] | None:
    """Return the ports of a step by name, or None where nobody can know them."""
    component = component_of(step)
    if isinstance(component, Component):
        found: Mapping[str, Any] = getattr(component, side)
        return found
    return None


def _is_group(name: str, names: Collection[str]) -> bool:
    """Return whether a dotted name belongs to a group of ports, or a group is meant by it."""
    return any(each.startswith(f"{name}.") or name.startswith(f"{each}.") for each in names)


def _bound(inputs: Mapping[str, Value]) -> Iterator[tuple[str, Binding]]:
    for name, value in inputs.items():
        for found in bindings(value.path if isinstance(value, Input) else value):
            yield name, found


def _texts(value: Any, steps: tuple[Step, ...] = ()) -> Iterator[tuple[tuple[Step, ...], str]]:
    if isinstance(value, str):
        yield steps, value
    elif isinstance(value, Mapping):
        for key, each in value.items():
            # Commands and components have expressions of their own, which mean other things.
            if not (not steps and key in ("command", "component", "trial", "task", "args", "input_data")):
                yield from _texts(each, (*steps, key))
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from _texts(each, (*steps, index))

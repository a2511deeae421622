"""Control flow: the steps that it names, and what it gives them; and searches inside of steps."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from jobs.checks import commands, sweeps
from jobs.checks.names import refusal
from jobs.files.component import Component
from jobs.files.control_flow import DoWhile, IfElse, ParallelFor
from jobs.files.expressions import bindings
from jobs.files.nodes import CommandNode, SparkNode, SweepNode
from jobs.files.pipeline import PipelineNode
from jobs.files.reading import Finding
from workspace.errors import did_you_mean

_PORT = re.compile(r"\$\{\{\s*parent\.jobs\.[^.\s]+\.(?:inputs|outputs)\.(\S+?)\s*\}\}")


def of_flow(key: str, step: DoWhile | IfElse | ParallelFor, steps: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield what cannot be right in a step of control flow."""
    if isinstance(step, IfElse):
        for side in ("true_block", "false_block"):
            for name in named_steps(getattr(step, side)):
                if name not in steps:
                    hint = did_you_mean(name, set(steps) - {key})
                    yield refusal("undeclared", f"there is no step {name!r}", step.origin, side, hint=hint)
        yield from _known(step.condition, step, "condition", steps)
        return
    names = named_steps((step.body,))
    body = steps.get(names[0]) if names else None
    if not isinstance(body, CommandNode | PipelineNode):
        hint = did_you_mean(names[0] if names else step.body, set(steps) - {key})
        what = f"{step.body} is no command or pipeline of this pipeline"
        yield refusal("no-such-step", what, step.origin, "body", hint=hint)
        return
    for other, loop in steps.items():
        if other < key and isinstance(loop, DoWhile | ParallelFor) and loop.body == step.body:
            yield refusal("body-twice", f"{step.body} is the body of {other!r} already", step.origin, "body")
    component = body.component
    if isinstance(component, Component):
        yield from _do_while(step, component) if isinstance(step, DoWhile) else _parallel_for(step, component)


def of_step(step: Any) -> Iterator[Finding]:
    """Yield what cannot be right in a step beside its wires."""
    if isinstance(step, SweepNode):
        spaces = step.search_space if isinstance(step.search_space, Mapping) else {}
        sampling = None if isinstance(step.sampling_algorithm, str) else step.sampling_algorithm
        yield from sweeps.search(step.origin, spaces, sampling)
        yield from sweeps.stopping(step.origin, step.early_termination)
        if not isinstance(step.limits, str):
            yield from sweeps.limits(step.origin, step.limits)
    if isinstance(step, SparkNode):
        yield from spark(step)


def spark(step: SparkNode) -> Iterator[Finding]:
    """Yield what cannot be right in a Spark step."""
    if (step.compute is None) == (step.resources is None):
        what = "a Spark step needs `compute` or `resources`" + (", not both" if step.compute else "")
        yield refusal("compute-or-resources", what, step.origin)
    component = step.component
    if not isinstance(component, Component):
        return
    told = {**getattr(component, "conf", {}), **(step.conf or {})}
    yield from commands.conf(step.origin, told)
    if step.inline:
        yield from commands.entry(step.origin, component)
        yield from commands.modes(step.origin, step.inputs, step.outputs)


def _do_while(step: DoWhile, component: Component) -> Iterator[Finding]:
    condition = _port(step.condition)
    if condition is not None:
        port = component.outputs.get(condition)
        hint = did_you_mean(condition, component.outputs)
        if port is None:
            what = f"{component.label} has no output {condition!r}"
            yield refusal("no-such-port", what, step.origin, "condition", hint=hint)
        elif not port.is_primitive:
            what = f"the output {condition!r} is of type {port.type}, and says neither yes nor no"
            yield refusal("port-type", what, step.origin, "condition")
    taken: dict[str, str] = {}
    for written, names in step.mapping.items():
        output = _port(written) or written
        if output not in component.outputs:
            hint = did_you_mean(output, component.outputs)
            yield refusal("no-such-port", f"no output {output!r}", step.origin, "mapping", written, hint=hint)
            continue
        for name in (_port(each) or each for each in names):
            yield from _mapped(step, component, written, output, name)
            if taken.setdefault(name, output) != output:
                what = f"the input {name!r} comes from two outputs"
                yield refusal("mapped-twice", what, step.origin, "mapping", written)


def _mapped(step: DoWhile, component: Component, written: str, output: str, name: str) -> Iterator[Finding]:
    if name not in component.inputs:
        hint = did_you_mean(name, component.inputs)
        yield refusal("no-such-port", f"no input {name!r}", step.origin, "mapping", written, hint=hint)
    elif component.inputs[name].is_primitive and not component.outputs[output].is_primitive:
        what = f"the input {name!r} is a literal, and {component.outputs[output].type} comes"
        yield refusal("port-type", what, step.origin, "mapping", written)


def _parallel_for(step: ParallelFor, component: Component) -> Iterator[Finding]:
    if isinstance(step.items, str):
        return
    if not step.items:
        yield refusal("no-items", "there is nothing to go over", step.origin, "items")
    for index, item in enumerate(step.items):
        if unknown := set(item) - set(component.inputs):
            what = f"{component.label} has no input {min(unknown)!r}"
            hint = did_you_mean(min(unknown), component.inputs)
            yield refusal("no-such-port", what, step.origin, "items", index, hint=hint)
        if set(item) != set(step.items[0]):
            yield refusal("uneven-items", "items give different inputs", step.origin, "items", index)


def _known(value: Any, step: Any, key: str, steps: Mapping[str, Any]) -> Iterator[Finding]:
    for found in bindings(value):
        if found.node is not None and found.node not in steps:
            hint = did_you_mean(found.node, steps)
            yield refusal("undeclared", f"there is no step {found.node!r}", step.origin, key, hint=hint)


def named_steps(blocks: tuple[str, ...]) -> list[str]:
    """Return the steps that expressions name: `${{parent.jobs.train}}` names train."""
    return [found.node for block in blocks for found in bindings(block) if found.node]


def _port(written: str | None) -> str | None:
    found = _PORT.search(written or "")
    return found[1] if found else written

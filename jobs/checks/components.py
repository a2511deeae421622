"""Components: what their commands name, and what their ports are called."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from jobs.checks import commands
from jobs.checks.names import refusal, undeclared, warning
from jobs.files.component import Component
from jobs.files.components import CommandComponent, ParallelComponent, SparkComponent
from jobs.files.expressions import used
from jobs.files.ports import PRIMITIVES, RESERVED
from jobs.files.reading import Finding

PORT_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*(\.[a-zA-Z_][a-zA-Z0-9_]*)*")


def of_component(component: Component) -> Iterator[Finding]:
    """Yield what cannot be right in a component."""
    yield from ports(component)
    declared = {"inputs": component.inputs, "outputs": component.outputs}
    if isinstance(component, CommandComponent):
        yield from undeclared(component.origin, ("command",), component.command, declared)
        for name in used(component.command):
            if name.partition(".")[0] not in declared:
                yield refusal("undeclared", f"${{{{{name}}}}} stands for nothing", component.origin, "command")
    yield from includes(component)
    if isinstance(component, ParallelComponent):
        yield from parallel(component)
    if isinstance(component, SparkComponent):
        yield from undeclared(component.origin, ("args",), component.args, declared)
        yield from commands.entry(component.origin, component)


def ports(component: Component) -> Iterator[Finding]:
    """Yield ports whose names no component can have."""
    for side, named in (("inputs", component.inputs), ("outputs", component.outputs)):
        seen: dict[str, str] = {}
        for name in named:
            if not PORT_NAME.fullmatch(name):
                hint = "letters, digits and '_', no digit first"
                yield refusal("port-name", f"{name!r} cannot name a port", component.origin, side, name, hint=hint)
            if (before := seen.setdefault(name.lower(), name)) != name:
                yield refusal("port-name", f"{name!r} and {before!r} are alike", component.origin, side, name)
            if name.lower() in RESERVED:
                what = f"{name!r} is the name of a variable of the machine"
                yield warning("reserved-name", what, component.origin, side, name)
    for name, port in component.outputs.items():
        if port.early_available and port.type not in PRIMITIVES:
            what = "what is available early is a literal"
            yield refusal("early-available", what, component.origin, "outputs", name)


def parallel(component: ParallelComponent) -> Iterator[Finding]:
    """Yield what a parallel component names and does not declare."""
    declared = {"inputs": component.inputs, "outputs": component.outputs}
    yield from undeclared(component.origin, ("input_data",), component.input_data, declared)
    if component.task is None:
        return
    for key in ("program_arguments", "append_row_to", "model"):
        text = getattr(component.task, key)
        yield from undeclared(component.origin, ("task", key), text, declared)
    code, script = component.task.code, component.task.entry_script
    if isinstance(code, Path) and script and not (code / script).exists():
        hint = "it is looked for in `code`"
        what = f"no script {script!r} in {code.name}"
        yield refusal("missing-script", what, component.origin, "task", "entry_script", hint=hint)


def includes(component: Component) -> Iterator[Finding]:
    """Yield files beside the code that are not there; `folder.zip` of a folder is the folder, zipped."""
    for index, written in enumerate(getattr(component, "additional_includes", ())):
        path = component.origin.folder / str(written)
        zipped = path.suffix == ".zip" and path.with_suffix("").is_dir()
        if isinstance(written, str) and not path.exists() and not zipped:
            what = f"no file or folder at {written!r}"
            yield refusal("missing-include", what, component.origin, "additional_includes", index)

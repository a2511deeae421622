"""New flows: copies of the starters that ship, or a flow written around a function that is there already."""

from __future__ import annotations

import ast
import shutil
from collections.abc import Mapping
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from flows import flex_signature, templates
from flows.flow import MISSING
from flows.graph import FILES
from workspace.errors import Conflict, Invalid, NotFound
from workspace.paths import write_atomically, writing

STARTERS = ("standard", "chat", "evaluation", "flex")


def copy(starter: str, target: Path) -> list[Path]:
    """Copy a starter to a folder that holds no flow yet, and return its files; Conflict where one is in the way."""
    if starter not in STARTERS:
        raise Invalid(f"no starter {starter!r}", hint=f"one of {', '.join(STARTERS)}")
    _refuse_flow(target)
    with as_file(files("flows") / "starters" / starter) as source:
        names = sorted(path.name for path in source.iterdir() if path.is_file())
        for name in names:
            if (target / name).exists():
                raise Conflict(f"{str(target / name)!r} exists already", hint="name a folder that does not exist yet")
        with writing(target):
            target.mkdir(parents=True, exist_ok=True)
            return [Path(shutil.copyfile(source / name, target / name)) for name in names]


def around(folder: Path, entry: Path, function: str, prompts: Mapping[str, Path]) -> list[Path]:
    """Write a flow whose one tool calls a function of the folder, and return the new files.

    Each of `prompts` is a template that is filled in before and given to the parameter of its name. What the function
    and the templates take besides become the flow's inputs, but for what has None as its default. No code
    runs.
    """
    _refuse_flow(folder)
    module = _within(folder, entry)
    signature = flex_signature.infer((folder,), f"{'.'.join(module.with_suffix('').parts)}:{function}")
    if signature is None or signature.init is not None:
        raise Invalid(f"{module} defines no function {function!r}", hint="name a function that the file itself defines")
    unknown = [name for name in prompts if name not in signature.inputs]
    if unknown:
        raise Invalid(f"{function!r} has no parameter {unknown[0]!r} for a prompt", hint=", ".join(signature.inputs))
    nodes: list[dict[str, Any]] = []
    inputs: dict[str, dict[str, Any]] = {}
    for name, path in prompts.items():
        relative = _within(folder, path)
        taken = sorted(templates.read(folder / relative).names)
        inputs |= {each: {"type": "string"} for each in taken}
        nodes.append(_node(f"{name}_prompt", "prompt", relative, {each: f"${{inputs.{each}}}" for each in taken}))
    given = {name: f"${{{name}_prompt.output}}" for name in prompts}
    for name, port in signature.inputs.items():
        if name not in prompts and port.default is not None:
            inputs[name] = {"type": port.type or "object"}
            inputs[name] |= {} if port.default is MISSING else {"default": port.default}
            given[name] = f"${{inputs.{name}}}"
    tool = folder / f"{function}_tool.py"
    if tool.exists():
        raise Conflict(f"{str(tool)!r} exists already", hint="move it away, or name the function differently")
    nodes.append(_node(function, "python", Path(tool.name), given))
    output = {"output": {"type": signature.returns or "string", "reference": f"${{{function}.output}}"}}
    write_atomically(tool, _tool(module, function, [*given], is_async=_is_async(folder / module, function)), mode=0o644)
    _write(folder / FILES[0], {"inputs": inputs, "outputs": output, "nodes": nodes})
    return [folder / FILES[0], tool]


def _refuse_flow(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise Conflict(f"{str(folder)!r} is a file", hint="name a folder")
    there = next((folder / name for name in FILES if (folder / name).exists()), None)
    if there:
        raise Conflict(f"{str(there)!r} exists already", hint="name a folder that holds no flow yet")


def _within(folder: Path, path: Path) -> Path:
    """Return a path below the folder; it may be given from there or from here."""
    for found in (folder / path, path):
        if found.is_file():
            if not found.resolve().is_relative_to(folder.resolve()):
                raise Invalid(f"{str(path)!r} is outside the flow's folder", hint=f"move it into {folder}")
            return found.resolve().relative_to(folder.resolve())
    raise NotFound(f"no file {str(path)!r}", hint=f"it is looked for in {folder}")


def _node(name: str, kind: str, path: Path, inputs: Mapping[str, str]) -> dict[str, Any]:
    return {"name": name, "type": kind, "source": {"type": "code", "path": path.as_posix()}, "inputs": dict(inputs)}


def _tool(module: Path, function: str, parameters: list[str], *, is_async: bool) -> str:
    dotted = ".".join(module.with_suffix("").parts)
    passed = ", ".join(f"{name}={name}" for name in parameters)
    begin, wait = ("async ", "await ") if is_async else ("", "")
    return (
        f"from promptflow.core import tool\n\nfrom {dotted} import {function} as called\n\n\n"
        f"@tool\n{begin}def {function}({', '.join(parameters)}):\n    return {wait}called({passed})\n"
    )


def _is_async(file: Path, function: str) -> bool:
    body = ast.parse(file.read_bytes()).body
    return any(isinstance(each, ast.AsyncFunctionDef) and each.name == function for each in body)


def _write(path: Path, content: Mapping[str, Any]) -> None:
    from io import StringIO

    from ruamel.yaml import YAML

    text = StringIO()
    yaml = YAML()
    yaml.default_flow_style = False
    yaml.dump(dict(content), text)
    write_atomically(path, text.getvalue(), mode=0o644)

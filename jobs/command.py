"""Command jobs as Azure ML CLI v2 writes them: a command line, its code, inputs, outputs and environment variables."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workspace.documents import Document, read_yaml
from workspace.errors import Invalid, did_you_mean

KEYS = frozenset(
    {
        "$schema", "type", "name", "display_name", "experiment_name", "description", "tags", "properties", "command",
        "code", "inputs", "outputs", "environment", "environment_variables", "compute", "limits",
    }
)  # fmt: skip
EXPRESSION = re.compile(r"\$\{\{\s*(\S*?)\s*\}\}")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,254}")

HERE = (None, "local", "azureml:local")

Literal = str | int | float | bool


@dataclass(frozen=True, slots=True)
class InputPath:
    """An input that is a file or a folder: on this machine, or an asset (`azureml:name:version`)."""

    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandJob:
    """One command to run. `inputs` are literals or paths, `outputs` the names of folders the command fills."""

    command: str
    folder: Path  # where relative paths start: the folder of the file
    name: str | None = None
    code: Path | None = None
    inputs: Mapping[str, Literal | InputPath] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()
    environment_variables: Mapping[str, str] = field(default_factory=dict)
    timeout: float | None = None  # seconds
    tags: Mapping[str, str] = field(default_factory=dict)
    description: str = ""
    unused: tuple[str, ...] = ()  # keys that are accepted and have no effect on this machine


def read_command_job(path: Path) -> CommandJob:
    """Read a job file, or raise Invalid with `file:line:column` for the first thing that cannot be right."""
    document = read_yaml(path)
    document.refuse_unknown(KEYS)
    root = document.root
    kind = str(root.get("type", "command")).lower()
    if kind != "command":
        raise Invalid(f"job type {kind!r} cannot be run", hint="known: command", at=document.at("type"))
    if not isinstance(root.get("command"), str) or not root["command"].strip():
        raise Invalid("a command job needs `command`, a text", at=document.at("command"))
    name = root.get("name")
    if name is not None and not NAME.fullmatch(str(name)):
        raise Invalid(f"name {name!r} has characters a job name cannot have", at=document.at("name"))
    job = CommandJob(
        command=root["command"],
        folder=path.resolve().parent,
        name=None if name is None else str(name),
        code=_code(document),
        inputs={key: _input(document, key, value) for key, value in _mapping(document, "inputs").items()},
        outputs=tuple(_mapping(document, "outputs")),
        environment_variables={k: str(v) for k, v in _mapping(document, "environment_variables").items()},
        timeout=_timeout(document),
        tags={k: str(v) for k, v in _mapping(document, "tags").items()},
        description=str(root.get("description") or ""),
        unused=tuple(
            key for key in ("environment", "compute") if root.get(key) not in (None, "local", "azureml:local")
        ),
    )
    _refuse_undeclared(job, document)
    return job


def resolve(command: str, values: Mapping[str, str]) -> str:
    """Fill in expressions: `resolve("cat ${{inputs.x}}", {"inputs.x": "a.txt"}) == "cat a.txt"`."""
    return EXPRESSION.sub(lambda match: values[match[1]], command)


def _refuse_undeclared(job: CommandJob, document: Document) -> None:
    known = {f"inputs.{name}" for name in job.inputs} | {f"outputs.{name}" for name in job.outputs}
    for match in EXPRESSION.finditer(job.command):
        if match[1] not in known:
            hint = did_you_mean(match[1], known) or "declare it under `inputs` or `outputs`"
            raise Invalid(f"the command uses {match[0]}, which is not declared", hint=hint, at=document.at("command"))


def _mapping(document: Document, key: str) -> dict[str, Any]:
    value = document.root.get(key) or {}
    if not isinstance(value, dict):
        raise Invalid(f"`{key}` must be a mapping of names", at=document.at(key))
    return value


def _code(document: Document) -> Path | None:
    code = document.root.get("code")
    if code is None:
        return None
    folder = (document.path.parent / str(code)).resolve()
    if not folder.exists():
        raise Invalid(f"no code at {str(code)!r}", hint="paths are relative to the job file", at=document.at("code"))
    return folder


def _input(document: Document, name: str, value: Any) -> Literal | InputPath:
    if isinstance(value, Literal):
        return value
    if not isinstance(value, dict):
        raise Invalid(f"input {name!r} must be a literal or a mapping with `path`", at=document.at("inputs", name))
    document.refuse_unknown({"type", "path", "mode", "value", "description"}, "inputs", name)
    if "value" in value and isinstance(value["value"], Literal):
        return value["value"]
    if not isinstance(value.get("path"), str):
        raise Invalid(f"input {name!r} needs `path`", at=document.at("inputs", name))
    path: str = value["path"]
    if not path.startswith("azureml:"):
        local = (document.path.parent / path.removeprefix("file:")).resolve()
        if not local.exists():
            raise Invalid(
                f"no file or folder at {path!r}",
                hint="paths are relative to the job file",
                at=document.at("inputs", name),
            )
        path = str(local)
    return InputPath(path)


def _timeout(document: Document) -> float | None:
    limits = _mapping(document, "limits")
    if not limits:
        return None
    document.refuse_unknown({"timeout"}, "limits")
    timeout = limits.get("timeout")
    if not isinstance(timeout, int | float) or isinstance(timeout, bool) or timeout <= 0:
        raise Invalid("`limits.timeout` must be seconds above 0", at=document.at("limits", "timeout"))
    return float(timeout)

"""The one step of a pipeline behind a batch endpoint: a command, read from a component or a job definition.

What takes more than one command is a pipeline: `pipeline_files` reads it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jobs.files.expressions import EXPRESSION
from jobs.files.ports import Scalar
from serving import yaml_values
from serving.batch.inputs import LITERAL_TYPES
from workspace.documents import Document, read_yaml
from workspace.errors import Invalid

_PARENT = re.compile(r"\$\{\{\s*parent\.(inputs|outputs)\.([\w.]+)\s*\}\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class StepInput:
    """An input of the command: `source` names what whoever invokes gives, `value` stands where they give nothing."""

    source: str = ""
    value: Scalar | None = None
    is_path: bool = False
    optional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A command, its code and what goes in and out. Its outputs are called as those of the pipeline."""

    command: str
    code: Path | None = None
    inputs: Mapping[str, StepInput] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()
    environment_variables: Mapping[str, str] = field(default_factory=dict)


def read(document: Document) -> Step | None:
    """Read what a deployment of type pipeline runs where that is one command; None where it takes more."""
    key = "component" if document.get("component") is not None else "job_definition"
    if document.get(key) is None:
        raise Invalid("a pipeline deployment needs `component` or `job_definition`", at=document.at())
    if str(document.get(key)).startswith("azureml:"):
        return None  # the component is in the workspace
    definition = _definition(document, key)
    kind = yaml_values.text(definition, "type", default="pipeline").lower()
    if kind == "command":
        return _step(definition, {}, definition)
    if kind != "pipeline":
        raise Invalid(f"a component of type {kind!r} cannot be deployed", at=document.at(key))
    nodes = yaml_values.mapping(definition, "jobs")
    if not nodes and definition.get("component") is None:
        raise Invalid("the pipeline has no `jobs`", at=document.at(key))
    if len(nodes) != 1:
        return None
    [node] = nodes.values()
    if not isinstance(node, dict) or str(node.get("type", "command")).lower() != "command":
        return None
    if str(node.get("component")).startswith("azureml:"):
        return None
    inner = Document(definition.path, node)
    body = _definition(inner, "component") if node.get("component") is not None else inner
    return None if "$[[" in str(body.get("command")) else _step(body, node, definition)


def _definition(document: Document, key: str) -> Document:
    written = document.get(key)
    if isinstance(written, dict):
        return Document(document.path, written)
    text = str(written)
    path = (document.path.parent / text.removeprefix("file:")).resolve()
    if not path.is_file():
        raise Invalid(f"no file {text!r}", hint="paths are relative to the file", at=document.at(key))
    return read_yaml(path)


def _step(body: Document, node: Mapping[str, Any], pipeline: Document) -> Step:
    command = yaml_values.required(body, "command")
    given = _bound(yaml_values.mapping(body, "inputs"), node)
    renamed = _outputs(body, node)
    known = {f"inputs.{name}" for name in given} | {f"outputs.{name}" for name in renamed}
    for match in EXPRESSION.finditer(command):
        if match[1] not in known:
            raise Invalid(f"the command uses {match[0]}, which is not declared", at=body.at("command"))
    outer = yaml_values.mapping(pipeline, "inputs")
    return Step(
        command=EXPRESSION.sub(lambda match: _renamed(match[1], renamed), command),
        code=_code(body),
        inputs={name: _input(name, value, outer, pipeline) for name, value in given.items()},
        outputs=tuple(renamed.values()),
        environment_variables=yaml_values.texts(body, "environment_variables"),
    )


def _bound(declared: Mapping[str, Any], node: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs of the step, each as the pipeline binds it."""
    return {**declared, **(node.get("inputs") or {})}


def _input(name: str, value: Any, outer: Mapping[str, Any], pipeline: Document) -> StepInput:
    text = value.get("path", value.get("value")) if isinstance(value, dict) else value
    if isinstance(text, str) and (match := _PARENT.fullmatch(text)):
        return _declared(match[2], outer.get(match[2]), pipeline)
    return _declared(name, value, pipeline)


def _declared(name: str, value: Any, pipeline: Document) -> StepInput:
    if not isinstance(value, dict):
        return StepInput(source=name, value=value if isinstance(value, Scalar) else None)
    kind = str(value.get("type", "uri_folder")).lower()
    is_path = kind not in LITERAL_TYPES
    found = value.get("path", value.get("value", value.get("default")))
    if is_path and isinstance(found, str) and not found.startswith("azureml:"):
        local = (pipeline.path.parent / found.removeprefix("file:")).resolve()
        if not local.exists():
            raise Invalid(f"input {name!r}: no file or folder at {found!r}", hint="paths are relative to the file")
        found = str(local)
    optional = str(value.get("optional", "false")).lower() == "true"
    return StepInput(source=name, value=found, is_path=is_path, optional=optional)


def _outputs(body: Document, node: Mapping[str, Any]) -> dict[str, str]:
    """The outputs of the step, and what the pipeline calls each."""
    found = {}
    for name in {**yaml_values.mapping(body, "outputs"), **(node.get("outputs") or {})}:
        bound = (node.get("outputs") or {}).get(name)
        text = bound.get("path") if isinstance(bound, dict) else bound
        match = _PARENT.fullmatch(text) if isinstance(text, str) else None
        found[str(name)] = match[2] if match else str(name)
    return found


def _renamed(expression: str, outputs: Mapping[str, str]) -> str:
    kind, _, name = expression.partition(".")
    return f"${{{{{kind}.{outputs[name] if kind == 'outputs' else name}}}}}"


def _code(body: Document) -> Path | None:
    written = yaml_values.text(body, "code")
    if not written:
        return None
    folder = (body.path.parent / written).resolve()
    if not folder.exists():
        raise Invalid(f"no code at {written!r}", hint="paths are relative to the file", at=body.at("code"))
    return folder

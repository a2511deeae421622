"""Flex flows: a function, or a class with `__call__`, named by flow.flex.yaml, is the whole flow."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from flows import flex_signature, includes
from flows.dag import mapping, variables
from flows.flex_signature import MODEL_CONFIGURATIONS, Port, Signature
from flows.flow import MISSING, Flow, Input, Node, Output
from flows.prompty import resolve
from flows.references import Reference
from flows.values import convert
from workspace.documents import Document, Step, read_yaml
from workspace.errors import Conflict, Invalid, did_you_mean
from workspace.paths import write_atomically

FILE = "flow.flex.yaml"
ENTRY = re.compile(r"[a-zA-Z0-9_.]+:[a-zA-Z0-9_]+")
KEYS = frozenset(
    {"$schema", "version", "id", "name", "display_name", "type", "description", "tags", "entry", "inputs", "outputs",
     "init", "sample", "environment", "environment_variables", "additional_includes", "code", "language", "path"}
)  # fmt: skip
PORT_KEYS = frozenset({"type", "default", "description", "enum", "is_chat_input", "is_chat_history", "is_chat_output"})
SAMPLE_KEYS = frozenset({"init", "inputs"})
TYPES = {
    "int": "int", "integer": "int", "double": "double", "float": "double", "number": "double", "bool": "bool",
    "boolean": "bool", "string": "string", "str": "string", "list": "list", "array": "list", "object": "object",
    "dict": "object", "image": "image",
}  # fmt: skip


def read(file: Path) -> Flow:
    """Read flow.flex.yaml as a flow of one node; what it does not say of the entry is read from the entry's source.

    Raises Invalid with `file:line:column`; no code of the flow is run.
    """
    document = read_yaml(file)
    document.refuse_unknown(KEYS)
    file = file.resolve()
    entry = document.get("entry")
    if not isinstance(entry, str) or not ENTRY.fullmatch(entry):
        raise Invalid("`entry` must be module:name, such as flow:answer", at=document.at("entry"))
    if document.get("language") == "csharp":
        raise Invalid("flows in C# cannot be run", hint="port the entry to Python", at=document.at("language"))
    included = includes.resolve(document)
    folder = _code(document, file)
    folders = (folder, *(path if path.is_dir() else path.parent for path in included))
    signature = flex_signature.infer((*folders, *(path.parent for path in included)), entry, at=document.at("entry"))
    sample = _sample(document, file.parent)
    inputs = _ports(document, "inputs", signature.inputs if signature else None, any_more=_takes_any(signature))
    _check_outputs(document, signature)
    node = _node(document, entry, folder, signature, inputs)
    returns = signature.returns if signature and signature.returns in TYPES.values() else "object"
    return Flow(
        name=str(document.get("name") or file.parent.name),
        folder=folder,
        file=file,
        kind="flex",
        type=str(document.get("type") or "standard"),
        description=str(document.get("description") or ""),
        inputs=inputs,
        outputs={"output": Output(name="output", type=returns, value=Reference(node.name, ()), is_chat_output=True)},
        nodes=(node,),
        environment_variables=variables(document),
        additional_includes=included,
        entry=entry,
        init=_with_sample(_init(document, signature), sample.get("init") or {}, document),
        sample=sample.get("inputs") or {},
    )


def from_entry(folder: Path, entry: str) -> Flow:
    """Return the flow of `module:name` in a folder; flow.flex.yaml is written beside the code.

    Raises Conflict where the folder has one with another entry.
    """
    if not ENTRY.fullmatch(entry):
        raise Invalid(f"{entry!r} is no entry", hint="write module:name, such as flow:answer")
    file = folder / FILE
    if file.exists():
        if read_yaml(file).get("entry") != entry:
            raise Conflict(f"{str(file)!r} has another entry", hint="name the folder, or move that file away")
    else:
        flex_signature.infer((folder,), entry)  # nothing is written for an entry that is none
        write_atomically(file, f"entry: {entry}\n", mode=0o644)
    return read(file)


def _code(document: Document, file: Path) -> Path:
    written = document.get("code")
    if written is None:
        return file.parent
    folder = (file.parent / str(written)).resolve()
    includes.refuse_outside(file, folder, str(written), document.at("code"))
    if not folder.is_dir():
        raise Invalid(f"no folder {written!r}", hint="`code` is relative to the flow file", at=document.at("code"))
    return folder


def _node(
    document: Document, entry: str, folder: Path, signature: Signature | None, inputs: Mapping[str, Input]
) -> Node:
    module, _, name = entry.partition(":")
    path = flex_signature.find_module((folder,), module) or (signature.file if signature else None)
    relative = (
        path.relative_to(folder)
        if path and path.is_relative_to(folder)
        else Path(*module.split(".")).with_suffix(".py")
    )
    return Node(
        name=name,
        type="flex",
        path=path,
        source=relative.as_posix(),
        inputs={each: Reference("inputs", (each,)) for each in inputs},
        at=document.at("entry"),
    )


def _takes_any(signature: Signature | None) -> bool:
    return signature is None or signature.takes_any


def _init(document: Document, signature: Signature | None) -> dict[str, Input]:
    if signature is None:
        return _ports(document, "init", None, any_more=True)
    if signature.init is None:
        if mapping(document, "init"):
            raise Invalid("`init` makes a class, and the entry is a function", at=document.at("init"))
        return {}
    return _ports(document, "init", signature.init, any_more=signature.init_takes_any)


def _ports(document: Document, section: str, known: Mapping[str, Port] | None, *, any_more: bool) -> dict[str, Input]:
    """Return inputs or init: what the file says, then what the entry takes besides. They may not contradict."""
    declared = mapping(document, section)
    found = {}
    for name in declared:
        port = (known or {}).get(name)
        if port is None and not any_more:
            raise Invalid(
                f"the entry does not take {name!r}", hint=did_you_mean(name, known or {}), at=document.at(section, name)
            )
        found[name] = _port(document, section, name, port)
    for name, port in (known or {}).items():
        if name not in found:
            found[name] = Input(
                name=name, type=port.type or "object", default=port.default, is_chat_history=name == "chat_history"
            )
    return found


def _port(document: Document, section: str, name: str, port: Port | None) -> Input:
    document.refuse_unknown(PORT_KEYS, section, name)
    given = document.get(section, name)
    kind = _type(document, section, name)
    if port and port.type and "object" not in (port.type, kind) and port.type != kind:
        raise Invalid(
            f"{name!r} is {kind} here and {port.type} in the code",
            hint="say the same in both places",
            at=document.at(section, name, "type"),
        )
    default = given.get("default")
    if default is None:
        default = port.default if port else MISSING
    elif kind in TYPES.values():
        try:
            default = convert(default, kind)
        except ValueError as error:
            raise Invalid(f"the default of {name!r}: {error}", at=document.at(section, name, "default")) from None
    return Input(
        name=name,
        type=kind,
        default=default,
        description=str(given.get("description") or ""),
        is_chat_input=given.get("is_chat_input") is True,
        is_chat_history=given.get("is_chat_history", name == "chat_history") is True,
    )


def _type(document: Document, *steps: Step) -> str:
    written = document.get(*steps, "type")
    if isinstance(written, str):
        if written in TYPES:
            return TYPES[written]
        if steps[0] == "init" and (written.endswith("Connection") or written in MODEL_CONFIGURATIONS):
            return written
    what = f"unknown type {written!r}" if written else f"{steps[-1]!r} needs `type`"
    raise Invalid(what, hint=did_you_mean(str(written), TYPES), at=document.at(*steps, "type"))


def _check_outputs(document: Document, signature: Signature | None) -> None:
    known = signature.outputs if signature else None
    for name in mapping(document, "outputs"):
        document.refuse_unknown(PORT_KEYS, "outputs", name)
        kind = _type(document, "outputs", name)
        if known is None:
            continue
        if name not in known:
            hint = did_you_mean(name, known)
            raise Invalid(f"the entry gives no {name!r}", hint=hint, at=document.at("outputs", name))
        if known[name].type and "object" not in (known[name].type, kind) and known[name].type != kind:
            raise Invalid(
                f"{name!r} is {kind} here and {known[name].type} in the code", at=document.at("outputs", name, "type")
            )


def _sample(document: Document, folder: Path) -> dict[str, Any]:
    if not mapping(document, "sample"):
        return {}
    document.refuse_unknown(SAMPLE_KEYS, "sample")
    try:
        found = resolve(mapping(document, "sample"), folder, os.environ)
    except Invalid as error:
        raise Invalid(error.message, hint=error.hint, at=error.at or document.at("sample")) from None
    for key, value in found.items():
        if value is not None and not isinstance(value, dict):
            raise Invalid(f"`{key}` must be a mapping", at=document.at("sample", key))
    return dict(found)


def _with_sample(init: dict[str, Input], sample: Mapping[str, Any], document: Document) -> dict[str, Input]:
    """A sample of `init` stands where nothing else is said."""
    for name in sample:
        if name not in init:
            raise Invalid(
                f"the entry is not made with {name!r}",
                hint=did_you_mean(name, init),
                at=document.at("sample", "init", name),
            )
    return {
        name: replace(each, default=sample[name]) if each.default is MISSING and name in sample else each
        for name, each in init.items()
    }

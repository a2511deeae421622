"""flow.dag.yaml, read once at the border into frozen objects, or refused with its line."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flows.references import Reference, parse
from flows.values import TYPES, convert
from workspace.documents import Document, Step, read_yaml
from workspace.errors import Invalid, Location, NotFound, did_you_mean

FILES = ("flow.dag.yaml", "flow.dag.yml")
FLOW_KEYS = frozenset(
    {
        "$schema", "version", "id", "name", "display_name", "type", "description", "tags", "inputs", "outputs", "nodes",
        "node_variants", "environment", "environment_variables", "additional_includes", "message_format", "language",
    }
)  # fmt: skip
INPUT_KEYS = frozenset({"type", "default", "description", "enum", "is_chat_input", "is_chat_history"})
OUTPUT_KEYS = frozenset({"type", "reference", "description", "is_chat_output", "evaluation_only"})
NODE_KEYS = frozenset(
    {
        "name", "type", "source", "inputs", "connection", "api", "provider", "module", "aggregation", "reduce",
        "activate", "use_variants", "enable_cache", "comment", "tool", "skip",
    }
)  # fmt: skip
NODE_TYPES = ("llm", "prompt", "python")
MISSING = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """A flow input; `default` is MISSING where there is none."""

    name: str
    type: str
    default: Any = MISSING
    is_chat_input: bool = False
    is_chat_history: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """A flow output: a reference, or a literal; `at` is where it was written."""

    name: str
    type: str
    value: Any
    evaluation_only: bool = False
    at: Location | None = None


@dataclass(frozen=True, slots=True)
class Activate:
    """Run the node only where `when` equals `value`."""

    when: Any
    value: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One step of the flow, written `at` a place. `inputs` are references or literals.

    `variants` are the ids of what it can be, `variant` the one it is.
    """

    name: str
    type: str
    path: Path  # of its prompt or code
    inputs: Mapping[str, Any] = field(default_factory=dict)
    connection: str = ""
    api: str = "chat"
    aggregation: bool = False
    activate: Activate | None = None
    variants: tuple[str, ...] = ()
    variant: str | None = None
    at: Location | None = None

    def references(self) -> list[Reference]:
        """Return every reference the node makes."""
        values = [*self.inputs.values(), *([self.activate.when] if self.activate else [])]
        return [value for value in values if isinstance(value, Reference)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """A whole flow: what goes in, what comes out, and the nodes between, in an order in which they can run."""

    name: str
    folder: Path
    file: Path
    type: str
    description: str
    inputs: Mapping[str, Input]
    outputs: Mapping[str, Output]
    nodes: tuple[Node, ...]
    environment_variables: Mapping[str, str]
    variant: str | None

    @property
    def digest(self) -> str:
        """Return the SHA-256 over the flow's own files and the chosen variant."""
        total = hashlib.sha256(f"{self.variant}".encode())
        for path in [self.file, *sorted({node.path for node in self.nodes})]:
            total.update(path.name.encode() + b"\0" + path.read_bytes())
        return f"sha256:{total.hexdigest()}"


def find_file(path: Path) -> Path:
    """Return the flow file that a file or folder means."""
    if path.is_file():
        return path
    found = [path / name for name in FILES if (path / name).is_file()]
    if not found:
        raise NotFound(f"no flow in {str(path)!r}", hint=f"a flow folder holds {FILES[0]}")
    if len(found) > 1:
        raise Invalid(f"{str(path)!r} holds {' and '.join(FILES)}", hint="keep one of them")
    return found[0]


def read(path: Path, *, variant: str | None = None) -> Flow:
    """Read a flow; `variant` as "node.variant" replaces one node's default. Nodes are not ordered or checked yet."""
    file = find_file(path)
    document = read_yaml(file)
    document.refuse_unknown(FLOW_KEYS)
    root = document.root
    nodes = _nodes(document, variant)
    return Flow(
        name=str(root.get("name") or file.resolve().parent.name),
        folder=file.resolve().parent,
        file=file.resolve(),
        type=str(root.get("type") or "standard"),
        description=str(root.get("description") or ""),
        inputs={name: _input(document, name) for name in _mapping(document, "inputs")},
        outputs={name: _output(document, name) for name in _mapping(document, "outputs")},
        nodes=nodes,
        environment_variables=_variables(document),
        variant=variant,
    )


def _mapping(document: Document, *steps: Step) -> dict[str, Any]:
    value = document.get(*steps)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Invalid(f"`{steps[-1]}` must be a mapping", at=document.at(*steps))
    return value


def _input(document: Document, name: str) -> Input:
    document.refuse_unknown(INPUT_KEYS, "inputs", name)
    given = document.get("inputs", name)
    kind = _type(document, "inputs", name)
    default = given.get("default")
    if default is not None:
        try:
            default = convert(default, kind)
        except ValueError as error:
            raise Invalid(f"the default of {name!r}: {error}", at=document.at("inputs", name, "default")) from None
    return Input(
        name=name,
        type=kind,
        default=MISSING if default is None else default,
        is_chat_input=given.get("is_chat_input") is True,
        is_chat_history=given.get("is_chat_history", name == "chat_history") is True,
    )


def _output(document: Document, name: str) -> Output:
    document.refuse_unknown(OUTPUT_KEYS, "outputs", name)
    given = document.get("outputs", name)
    reference = given.get("reference")
    if reference in (None, ""):
        raise Invalid(
            f"output {name!r} needs `reference`", hint="such as ${node.output}", at=document.at("outputs", name)
        )
    return Output(
        name=name,
        type=_type(document, "outputs", name),
        value=_value(document, reference, "outputs", name, "reference"),
        evaluation_only=given.get("evaluation_only") is True,
        at=document.at("outputs", name),
    )


def _type(document: Document, *steps: Step) -> str:
    given = document.get(*steps, "type")
    if given not in TYPES:
        what = f"unknown type {given!r}" if given else f"{steps[-1]!r} needs `type`"
        raise Invalid(what, hint=did_you_mean(str(given), TYPES), at=document.at(*steps, "type"))
    return str(given)


def _nodes(document: Document, variant: str | None) -> tuple[Node, ...]:
    listed = document.get("nodes")
    if not isinstance(listed, list) or not listed:
        raise Invalid("a flow needs `nodes`, a list", at=document.at("nodes"))
    wanted, dot, choice = (variant or "").strip("${}").partition(".")
    if variant and not (wanted and dot and choice):
        raise Invalid(f"variant {variant!r} cannot be read", hint="write node.variant, such as ask.shown")
    nodes = [_node(document, index, choice if name == wanted else None) for index, name in _names(document, listed)]
    if variant and not any(node.name == wanted and node.variants for node in nodes):
        known = [node.name for node in nodes if node.variants]
        raise Invalid(
            f"no node {wanted!r} with variants", hint=did_you_mean(wanted, known), at=document.at("node_variants")
        )
    return tuple(nodes)


def _names(document: Document, listed: list[Any]) -> list[tuple[int, str]]:
    seen: dict[str, int] = {}
    for index, node in enumerate(listed):
        document.refuse_unknown(NODE_KEYS, "nodes", index)
        name = node.get("name")
        if not isinstance(name, str) or not name:
            raise Invalid("a node needs `name`", at=document.at("nodes", index))
        if name in seen:
            raise Invalid(f"two nodes are named {name!r}", at=document.at("nodes", index, "name"))
        seen[name] = index
    return [(index, name) for name, index in seen.items()]


def _node(document: Document, index: int, choice: str | None) -> Node:
    given = document.get("nodes", index)
    name = given["name"]
    if given.get("use_variants") is not True:
        return _plain_node(document, name, ("nodes", index))
    variants = _mapping(document, "node_variants", name, "variants")
    if not variants:
        raise Invalid(
            f"node {name!r} has no variants", hint="list them under `node_variants`", at=document.at("nodes", index)
        )
    chosen = choice or document.get("node_variants", name, "default_variant_id")
    if chosen not in variants:
        at = document.at("node_variants", name, "default_variant_id")
        raise Invalid(f"node {name!r} has no variant {chosen!r}", hint=did_you_mean(str(chosen), variants), at=at)
    steps: tuple[Step, ...] = ("node_variants", name, "variants", chosen, "node")
    document.refuse_unknown(NODE_KEYS, *steps)
    return _plain_node(document, name, steps, variants=tuple(variants), variant=str(chosen))


def _plain_node(
    document: Document,
    name: str,
    steps: tuple[Step, ...],
    *,
    variants: tuple[str, ...] = (),
    variant: str | None = None,
) -> Node:
    given = document.get(*steps)
    kind = given.get("type")
    if kind not in NODE_TYPES:
        what = f"unknown type {kind!r}" if kind else f"node {name!r} needs `type`"
        raise Invalid(what, hint=did_you_mean(str(kind), NODE_TYPES), at=document.at(*steps, "type"))
    return Node(
        name=name,
        type=str(kind),
        path=_source(document, steps),
        inputs={
            key: _value(document, value, *steps, "inputs", key)
            for key, value in _mapping(document, *steps, "inputs").items()
            if value is not None and value != ""
        },
        connection=str(given.get("connection") or ""),
        api=str(given.get("api") or "chat"),
        aggregation=given.get("aggregation") is True or given.get("reduce") is True,
        activate=_activate(document, steps),
        variants=variants,
        variant=variant,
        at=document.at(*steps),
    )


def _source(document: Document, steps: tuple[Step, ...]) -> Path:
    relative = document.get(*steps, "source", "path")
    at = document.at(*steps, "source", "path")
    kind = document.get(*steps, "source", "type") or "code"
    if kind != "code" or not isinstance(relative, str):
        raise Invalid("a node needs `source` with `type: code` and `path`", at=at)
    folder = document.path.resolve().parent
    path = (folder / relative).resolve()
    if not path.is_relative_to(folder):
        raise Invalid(f"{relative!r} leads out of the flow folder", at=at)
    if not path.is_file():
        raise Invalid(f"no file {relative!r}", hint="paths are relative to the flow file", at=at)
    return path


def _activate(document: Document, steps: tuple[Step, ...]) -> Activate | None:
    given = _mapping(document, *steps, "activate")
    if not given:
        return None
    if set(given) != {"when", "is"}:
        raise Invalid("`activate` needs `when` and `is`, nothing else", at=document.at(*steps, "activate"))
    return Activate(_value(document, given["when"], *steps, "activate", "when"), given["is"])


def _value(document: Document, value: Any, *steps: Step) -> Any:
    try:
        return parse(value) or value
    except ValueError as error:
        raise Invalid(str(error), at=document.at(*steps)) from None


def _variables(document: Document) -> dict[str, str]:
    return {
        key: json.dumps(value) if isinstance(value, dict | list) else str(value)
        for key, value in _mapping(document, "environment_variables").items()
    }

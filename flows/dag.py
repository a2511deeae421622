"""flow.dag.yaml, read once at the border into frozen objects, or refused with its line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from flows import includes
from flows.flow import MISSING, Activate, Each, Flow, Input, Node, Output, Retry
from flows.references import parse
from flows.values import TYPES, convert
from workspace.documents import Document, Step, read_yaml
from workspace.errors import Invalid, did_you_mean

FILES = ("flow.dag.yaml", "flow.dag.yml")
FLOW_KEYS = frozenset(
    {
        "$schema", "version", "id", "name", "display_name", "type", "description", "tags", "inputs", "outputs", "nodes",
        "node_variants", "environment", "environment_variables", "additional_includes", "message_format", "language",
    }
)  # fmt: skip
INPUT_KEYS = frozenset({"type", "default", "description", "enum", "is_chat_input", "is_chat_history"})
OUTPUT_KEYS = frozenset({"type", "reference", "description", "is_chat_output", "evaluation_only"})
PEER_NODE_KEYS = frozenset(
    {
        "name", "type", "source", "inputs", "connection", "api", "provider", "module", "aggregation", "reduce",
        "activate", "use_variants", "enable_cache", "comment", "tool", "skip",
    }
)  # fmt: skip
OUR_NODE_KEYS = frozenset({"retry", "timeout", "cache", "map", "pin"})
NODE_KEYS = PEER_NODE_KEYS | OUR_NODE_KEYS
SOURCE_KEYS = frozenset({"type", "path", "tool"})
RETRY_KEYS = frozenset({"max", "delay", "backoff", "on"})
MAP_KEYS = frozenset({"over", "as", "concurrency"})
PEER_NODE_TYPES = ("llm", "prompt", "python", "custom_llm")
NODE_TYPES = (*PEER_NODE_TYPES, "langchain", "flow", "approval")
SOURCE_TYPES = ("code", "package", "package_with_prompt")
FLOW_TYPES = ("standard", "evaluation", "chat")
MESSAGE_FORMATS = ("basic", "openai-vision")


def read(file: Path, *, variant: str | None = None) -> Flow:
    """Read a flow; `variant` as "node.variant" replaces one node's default. Nodes are not ordered or checked yet."""
    document = read_yaml(file)
    document.refuse_unknown(FLOW_KEYS)
    root = document.root
    if root.get("language") == "csharp":
        raise Invalid("flows in C# cannot be run", hint="port the nodes to Python", at=document.at("language"))
    included = includes.resolve(document)
    return Flow(
        name=str(root.get("name") or file.resolve().parent.name),
        folder=file.resolve().parent,
        file=file.resolve(),
        type=_choice(document, FLOW_TYPES, "type") or "standard",
        description=str(root.get("description") or ""),
        inputs={name: read_input(document, "inputs", name) for name in mapping(document, "inputs")},
        outputs={name: read_output(document, name) for name in mapping(document, "outputs")},
        nodes=_nodes(document, included, variant),
        environment_variables=variables(document),
        additional_includes=included,
        message_format=_choice(document, MESSAGE_FORMATS, "message_format") or "basic",
        variant=variant,
    )


def mapping(document: Document, *steps: Step) -> dict[str, Any]:
    """Return the mapping under `steps`, empty where there is none; Invalid where it is something else."""
    value = document.get(*steps)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Invalid(f"`{steps[-1]}` must be a mapping", at=document.at(*steps))
    return value


def read_input(document: Document, *steps: Step) -> Input:
    """Read one declared input; its default is converted to its type."""
    name = str(steps[-1])
    document.refuse_unknown(INPUT_KEYS, *steps)
    given = document.get(*steps)
    kind = _type(document, *steps)
    default = given.get("default")
    if default is not None:
        try:
            default = convert(default, kind)
        except ValueError as error:
            raise Invalid(f"the default of {name!r}: {error}", at=document.at(*steps, "default")) from None
    return Input(
        name=name,
        type=kind,
        default=MISSING if default is None else default,
        description=str(given.get("description") or ""),
        is_chat_input=given.get("is_chat_input") is True,
        is_chat_history=given.get("is_chat_history", name == "chat_history") is True,
    )


def variables(document: Document) -> dict[str, str]:
    """Return `environment_variables` as texts; mappings and lists as JSON."""
    return {
        key: json.dumps(value) if isinstance(value, dict | list) else str(value)
        for key, value in mapping(document, "environment_variables").items()
    }


def read_output(document: Document, name: str) -> Output:
    """Read one declared output."""
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
        description=str(given.get("description") or ""),
        is_chat_output=given.get("is_chat_output") is True,
        evaluation_only=given.get("evaluation_only") is True,
        at=document.at("outputs", name, "reference"),
    )


def _type(document: Document, *steps: Step) -> str:
    given = document.get(*steps, "type")
    if given not in TYPES:
        what = f"unknown type {given!r}" if given else f"{steps[-1]!r} needs `type`"
        raise Invalid(what, hint=did_you_mean(str(given), TYPES), at=document.at(*steps, "type"))
    return str(given)


def _choice(document: Document, known: tuple[str, ...], *steps: Step) -> str:
    given = document.get(*steps)
    if given is not None and given not in known:
        hint = did_you_mean(str(given), known) or f"known: {', '.join(known)}"
        raise Invalid(f"unknown {steps[-1]} {given!r}", hint=hint, at=document.at(*steps))
    return str(given or "")


def _nodes(document: Document, included: tuple[Path, ...], variant: str | None) -> tuple[Node, ...]:
    listed = document.get("nodes")
    if not isinstance(listed, list) or not listed:
        raise Invalid("a flow needs `nodes`, a list", at=document.at("nodes"))
    wanted, dot, choice = (variant or "").strip("${}").partition(".")
    if variant and not (wanted and dot and choice):
        raise Invalid(f"variant {variant!r} cannot be read", hint="write node.variant, such as ask.shown")
    nodes = [
        read_node(document, included, index, choice if name == wanted else None)
        for index, name in _names(document, listed)
    ]
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


def read_node(document: Document, included: tuple[Path, ...], index: int, choice: str | None = None) -> Node:
    """Read one node of the list, whose name was checked; `choice` is its variant, the default where None."""
    given = document.get("nodes", index)
    name = given["name"]
    if given.get("use_variants") is not True:
        return _plain_node(document, included, name, ("nodes", index))
    choices = mapping(document, "node_variants", name, "variants")
    if not choices:
        raise Invalid(
            f"node {name!r} has no variants", hint="list them under `node_variants`", at=document.at("nodes", index)
        )
    chosen = choice or document.get("node_variants", name, "default_variant_id")
    if chosen not in choices:
        at = document.at("node_variants", name, "default_variant_id")
        raise Invalid(f"node {name!r} has no variant {chosen!r}", hint=did_you_mean(str(chosen), choices), at=at)
    steps: tuple[Step, ...] = ("node_variants", name, "variants", chosen, "node")
    document.refuse_unknown(NODE_KEYS, *steps)
    return _plain_node(document, included, name, steps, variants=(tuple(choices), str(chosen)))


def _plain_node(
    document: Document,
    included: tuple[Path, ...],
    name: str,
    steps: tuple[Step, ...],
    *,
    variants: tuple[tuple[str, ...], str | None] = ((), None),
) -> Node:
    given = document.get(*steps)
    kind = given.get("type")
    if kind not in NODE_TYPES:
        what = f"unknown type {kind!r}" if kind else f"node {name!r} needs `type`"
        raise Invalid(what, hint=did_you_mean(str(kind), NODE_TYPES), at=document.at(*steps, "type"))
    source = mapping(document, *steps, "source")
    return Node(
        name=name,
        type=str(kind),
        path=_source(document, included, str(kind), steps),
        source=str(source.get("path") or ""),
        source_type=str(source.get("type") or "code"),
        tool=str(source.get("tool") or ""),
        inputs=read_node_inputs(document, *steps),
        connection=str(given.get("connection") or ""),
        api=str(given.get("api") or "chat"),
        provider=str(given.get("provider") or ""),
        aggregation=given.get("aggregation") is True or given.get("reduce") is True,
        activate=_activate(document, steps),
        variants=variants[0],
        variant=variants[1],
        retry=_retry(document, steps),
        timeout=_number(document, *steps, "timeout"),
        cache=given.get("cache") is True,
        each=_each(document, steps),
        pin=given.get("pin", MISSING),
        at=document.at(*steps),
    )


def read_node_inputs(document: Document, *steps: Step) -> dict[str, Any]:
    """Read what goes into a node, also where the rest of it cannot be read."""
    each = _each(document, steps)
    return {
        key: _value(document, value, *steps, "inputs", key, item=each.name if each else "")
        for key, value in mapping(document, *steps, "inputs").items()
        if value is not None and value != ""
    }


def _source(document: Document, included: tuple[Path, ...], kind: str, steps: tuple[Step, ...]) -> Path | None:
    if kind == "approval":
        return None
    at = document.at(*steps, "source")
    given = mapping(document, *steps, "source")
    if given:
        document.refuse_unknown(SOURCE_KEYS, *steps, "source")
    source_type = _choice(document, SOURCE_TYPES, *steps, "source", "type") or "code"
    if source_type != "code" and not given.get("tool"):
        raise Invalid(f"a `source` of type {source_type} needs `tool`", hint="such as package.module.function", at=at)
    if source_type == "package":
        return None
    relative = given.get("path")
    if not isinstance(relative, str) or not relative:
        raise Invalid("a node needs `source` with `type: code` and `path`", at=at)
    where = document.at(*steps, "source", "path")
    if kind == "flow":
        return includes.sub_flow(document.path, relative, at=where)
    return includes.find(document.path, relative.partition(":")[0], included, at=where)


def _activate(document: Document, steps: tuple[Step, ...]) -> Activate | None:
    given = mapping(document, *steps, "activate")
    if not given:
        return None
    if not {"when", "is"} <= set(given) <= {"when", "is", "else"}:
        raise Invalid("`activate` needs `when` and `is`", hint="`else` is optional", at=document.at(*steps, "activate"))
    when = _value(document, given["when"], *steps, "activate", "when")
    otherwise = _value(document, given["else"], *steps, "activate", "else") if "else" in given else MISSING
    return Activate(when, given["is"], otherwise)


def _retry(document: Document, steps: tuple[Step, ...]) -> Retry | None:
    given = document.get(*steps, "retry")
    if given is None:
        return None
    if isinstance(given, int) and not isinstance(given, bool):
        return Retry(max=given)
    document.refuse_unknown(RETRY_KEYS, *steps, "retry")
    on = given.get("on") or ()
    return Retry(
        max=int(_or(_number(document, *steps, "retry", "max"), 3)),
        delay=_or(_number(document, *steps, "retry", "delay"), 1.0),
        backoff=_or(_number(document, *steps, "retry", "backoff"), 2.0),
        on=tuple(map(str, on if isinstance(on, list | tuple) else [on])),
    )


def _each(document: Document, steps: tuple[Step, ...]) -> Each | None:
    given = document.get(*steps, "map")
    if given is None:
        return None
    at = document.at(*steps, "map")
    if isinstance(given, str):
        given = {"over": given}
    else:
        document.refuse_unknown(MAP_KEYS, *steps, "map")
    if given.get("over") is None:
        raise Invalid("`map` needs `over`, a list", hint="such as over: ${split.output}", at=at)
    name = str(given.get("as") or "item")
    if not name.isidentifier() or name in ("inputs", "flow"):
        raise Invalid(f"`as` must be a name, not {name!r}", at=at)
    over = _value(document, given["over"], *steps, "map", "over")
    return Each(over=over, name=name, concurrency=max(1, int(given.get("concurrency") or 16)))


def _number(document: Document, *steps: Step) -> float | None:
    given = document.get(*steps)
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int | float) or given < 0:
        raise Invalid(f"`{steps[-1]}` must be a number, not {given!r}", at=document.at(*steps))
    return float(given)


def _or(number: float | None, default: float) -> float:
    return default if number is None else number


def _value(document: Document, value: Any, *steps: Step, item: str = "") -> Any:
    try:
        return parse(value, item=item) or value
    except ValueError as error:
        raise Invalid(str(error), at=document.at(*steps)) from None

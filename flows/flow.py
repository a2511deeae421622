"""A flow, its inputs, nodes and outputs, as frozen objects: what every format becomes at the border."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from flows.references import Reference
from workspace.errors import Location


class Missing:
    """The type of MISSING: no value, where None would be one."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING = Missing()


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """A flow input; `default` is MISSING where there is none."""

    name: str
    type: str
    default: Any = MISSING
    description: str = ""
    is_chat_input: bool = False
    is_chat_history: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """A flow output: a reference, or a literal; `at` is where it was written."""

    name: str
    type: str
    value: Any
    description: str = ""
    is_chat_output: bool = False
    evaluation_only: bool = False
    at: Location | None = None


@dataclass(frozen=True, slots=True)
class Activate:
    """Run the node only where `when` equals `value`; else its output is `otherwise`, or it is bypassed."""

    when: Any
    value: Any
    otherwise: Any = MISSING


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """Try a failed node again, at most `max` more times, after `delay` seconds that grow by `backoff`.

    `on` names the exceptions that are worth it; none named: all.
    """

    max: int = 3
    delay: float = 1.0
    backoff: float = 2.0
    on: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Each:
    """Run the node once per item of the list `over`, at most `concurrency` at once; `${name}` is the item."""

    over: Any
    name: str = "item"
    concurrency: int = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One step of the flow, written `at` a place. `inputs` are references or literals.

    `source` is the path as written, `path` the file it means, `tool` the id of a package tool. `variants` are the
    ids of what the node can be, `variant` the one it is. `pin` is an output that stands in for running it.
    """

    name: str
    type: str
    path: Path | None = None
    source: str = ""
    source_type: str = "code"
    tool: str = ""
    inputs: Mapping[str, Any] = field(default_factory=dict)
    connection: str = ""
    api: str = "chat"
    provider: str = ""
    aggregation: bool = False
    activate: Activate | None = None
    variants: tuple[str, ...] = ()
    variant: str | None = None
    retry: Retry | None = None
    timeout: float | None = None  # seconds
    cache: bool = False
    each: Each | None = None
    pin: Any = MISSING
    at: Location | None = None

    def references(self) -> list[Reference]:
        """Return every reference the node makes to inputs and nodes."""
        values = list(self.inputs.values())
        if self.activate:
            values += [self.activate.when, self.activate.otherwise]
        if self.each:
            values = [value for value in values if not self.is_item(value)] + [self.each.over]
        return [value for value in values if isinstance(value, Reference)]

    def is_item(self, value: Any) -> bool:
        """Whether an input is the item of the node's own `map`, or something in it."""
        return self.each is not None and isinstance(value, Reference) and value.source == self.each.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """A whole flow: what goes in, what comes out, and the nodes between, in an order in which they can run.

    A flex flow and a prompty are flows of one node. `entry` is a flex flow's "module:name" and `init` what its class
    is made with; `sample` are the inputs its author tried.
    """

    name: str
    folder: Path
    file: Path
    kind: Literal["dag", "flex", "prompty"] = "dag"
    type: str = "standard"
    description: str = ""
    inputs: Mapping[str, Input] = field(default_factory=dict)
    outputs: Mapping[str, Output] = field(default_factory=dict)
    nodes: tuple[Node, ...] = ()
    environment_variables: Mapping[str, str] = field(default_factory=dict)
    additional_includes: tuple[Path, ...] = ()
    message_format: str = "basic"
    variant: str | None = None
    entry: str = ""
    init: Mapping[str, Input] = field(default_factory=dict)
    sample: Mapping[str, Any] = field(default_factory=dict)

    def node(self, name: str) -> Node | None:
        """Return the node of this name."""
        return next((node for node in self.nodes if node.name == name), None)

    @property
    def chat_input(self) -> str | None:
        """Return the input that takes what the person says, where this is a chat flow."""
        return next((name for name, declared in self.inputs.items() if declared.is_chat_input), None)

    @property
    def chat_history(self) -> str | None:
        """Return the input that takes the turns so far."""
        return next((name for name, declared in self.inputs.items() if declared.is_chat_history), None)

    @property
    def chat_output(self) -> str | None:
        """Return the output that is said back: the one marked so, else the only one."""
        marked = [name for name, output in self.outputs.items() if output.is_chat_output]
        return marked[0] if marked else next(iter(self.outputs), None) if len(self.outputs) == 1 else None

    def asks_model(self) -> bool:
        """Whether a node of the flow asks a language model, and so may need the local gateway."""
        return any(
            node.type in ("llm", "prompty", "custom_llm") or node.tool.startswith("flows.")
            or (node.type == "langchain" and node.connection)
            for node in self.nodes
        )  # fmt: skip

    @property
    def digest(self) -> str:
        """Return the SHA-256 over the flow's own files and the chosen variant."""
        total = hashlib.sha256(f"{self.variant}".encode())
        for path in [self.file, *sorted(self._files())]:
            total.update(path.name.encode() + b"\0" + path.read_bytes())
        return f"sha256:{total.hexdigest()}"

    def _files(self) -> set[Path]:
        named = {node.path for node in self.nodes if node.path and node.path.is_file()} - {self.file}
        return named | set(_files_of(self.additional_includes))


def _files_of(paths: tuple[Path, ...]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from (file for file in path.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
        elif path.is_file():
            yield path

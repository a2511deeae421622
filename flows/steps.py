"""Nodes made ready to run in this process: each type of node has one maker, imported when a flow uses it."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.connections import Connection
from flows.flow import Flow, Node
from flows.pace import Pace
from flows.references import Reference

if TYPE_CHECKING:
    import httpx

    from flows.cassette import Cassette

MAKERS = {
    "python": "flows.python_tools:make",
    "custom_llm": "flows.python_tools:make",
    "llm": "flows.llm:make",
    "prompt": "flows.templates:make",
    "flex": "flows.flex_step:make",
    "prompty": "flows.prompty_step:make",
    "langchain": "flows.langchain_node:make",
    "flow": "flows.subflow:make",
    "approval": "flows.approval:make",
}


class Waits(Exception):
    """Raised by a node that cannot go on before a person has decided: its line waits."""


@dataclass(slots=True)
class Step:
    """A node made ready: `call` takes its inputs by name and returns its output, or an awaitable where `is_async`.

    `accepts` are the names it takes (None: any), `defaults` those that may be left out, `constants` its literal
    inputs in the types its parameters ask for. `aggregate` is what a flex flow does with the outputs of all lines.
    """

    node: Node
    call: Callable[..., Any]
    is_async: bool = False
    accepts: frozenset[str] | None = None
    defaults: frozenset[str] = frozenset()
    constants: dict[str, Any] = field(default_factory=dict)
    aggregate: Callable[[list[Any]], Any] | None = None


def _no_runner(*_: object) -> None:
    raise RuntimeError("no runner has taken this kit")


@dataclass(slots=True)
class Kit:
    """What steps are made with and run with: one flow in one process.

    `stream` asks nodes for answers as they come. `init` are the values for a flex class. `home` is the workspace's
    folder. `revisions` tell which weights a model's name stands for, for outputs that are kept.
    """

    flow: Flow
    connections: Mapping[str, Connection]
    init: Mapping[str, Any] = field(default_factory=dict)
    stream: bool = False
    cassette: Cassette | None = None
    home: Path | None = None
    revisions: Mapping[str, str] = field(default_factory=dict)
    write_image: Callable[[Any], Any] | None = None  # what an image becomes where it leaves the flow
    timeout: float = 600.0  # seconds, for one request
    within: Callable[..., None] = _no_runner  # the runner's way to run the flow of a node
    depth: int = 0  # of flows within flows
    paces: dict[str, Pace] = field(default_factory=dict)  # requests at a time, by connection
    _client: Any = None

    def streams(self, node: Node) -> bool:
        """Whether the node's answer is wanted as it comes: asked for, used by an output and by no other node."""
        uses = [each.source for other in self.flow.nodes for each in other.references()]
        outputs = [output.value for output in self.flow.outputs.values()]
        return (
            self.stream
            and node.name not in uses
            and any(isinstance(value, Reference) and value.source == node.name and not value.path for value in outputs)
        )

    def client(self) -> httpx.AsyncClient:
        """Return the HTTP client of the runner's loop; made at first use, there."""
        if self._client is None:
            import httpx

            limits = httpx.Limits(max_connections=256, max_keepalive_connections=64)
            self._client = httpx.AsyncClient(timeout=httpx.Timeout(self.timeout, connect=10), limits=limits)
        client: httpx.AsyncClient = self._client
        return client

    async def aclose(self) -> None:
        """Close what was opened on the loop."""
        if self._client is not None:
            await self._client.aclose()


# The kit of the flow whose node is running: for tools that need the workspace or the connections.
KIT: ContextVar[Kit | None] = ContextVar("studiolo_kit", default=None)


def make(node: Node, kit: Kit) -> Step:
    """Make a node ready; raises what the flow's own code raises when it is imported."""
    module, name = MAKERS[node.type].split(":")
    maker: Callable[[Node, Kit], Step] = getattr(importlib.import_module(module), name)
    step = maker(node, kit)
    if not node.cache:
        return step
    from flows.node_cache import kept

    return kept(step, kit)

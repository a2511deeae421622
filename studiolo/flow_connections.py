"""What a flow's nodes reach: the stored connections it names, and the gateway for nodes that name none."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from flows.connections import DEFAULT, LOCAL_NAMES, Connection
from flows.flow import Flow
from workspace.errors import NotFound

if TYPE_CHECKING:
    from workspace import Workspace

NOWHERE = "http://replayed.invalid/v1"
_IN_VARIABLE = re.compile(r"^\$\{([\w.\- ]+)\.\w+\}$")


@contextmanager
def connections_for(
    flow: Flow, workspace: Callable[[], Workspace], *, replays: bool = False
) -> Iterator[dict[str, Connection]]:
    """Give what the flow needs and no more; `workspace` is asked only where something is needed.

    The gateway is the one that runs, or a private one for as long as the block takes. A replay reaches nothing.
    """
    names = named(flow)
    local = needs_gateway(flow)
    if not names and not local:
        yield {}
        return
    found = stored(workspace(), names) if names else {}
    if not local:
        yield found
        return
    model = workspace().settings.model
    if replays:
        yield {**found, DEFAULT: Connection.to_gateway(NOWHERE, "none", model=model)}
        return
    from serving.local import local_gateway

    with local_gateway(workspace()) as gateway:
        yield {**found, DEFAULT: Connection.to_gateway(gateway.base_url, gateway.token, model=model)}


def named(flow: Flow) -> frozenset[str]:
    """Return what may be names of connections: of nodes, of literal inputs, in variables."""
    texts = [node.connection for node in flow.nodes]
    texts += [value for node in flow.nodes for value in node.inputs.values() if isinstance(value, str)]
    texts += [str(value.default) for value in flow.init.values() if isinstance(value.default, str)]
    texts += [found[1] for value in flow.environment_variables.values() if (found := _IN_VARIABLE.match(value))]
    return frozenset(text for text in texts if text not in LOCAL_NAMES and len(text) <= 100)


def needs_gateway(flow: Flow) -> bool:
    """Whether a node that asks a model names no connection."""
    return flow.asks_model() and any(
        node.connection in LOCAL_NAMES
        for node in flow.nodes
        if node.type in ("llm", "prompty", "python") or (node.type == "langchain" and node.connection)
    )


def stored(workspace: Workspace, names: frozenset[str]) -> dict[str, Connection]:
    """Return the stored connections among these names."""
    from flows import connection_store

    known = {each.name for each in connection_store.list_connections(workspace)}
    return {name: connection_store.get(workspace, name) for name in sorted(names & known)}


def revisions(flow: Flow, workspace: Callable[[], Workspace]) -> dict[str, str]:
    """Return the digests of the local models that nodes with `cache` ask: other weights give other answers."""
    asking = [node for node in flow.nodes if node.cache and node.connection in LOCAL_NAMES and node.type == "llm"]
    if not asking:
        return {}
    assets, default = workspace().assets, workspace().settings.model
    found = {}
    for name in {str(node.inputs.get("model") or "") for node in asking}:
        with suppress(NotFound):
            found[name] = assets.get("model", name or default).digest
    return found


def resolve_variables(flow: Flow, connections: Mapping[str, Connection]) -> dict[str, str]:
    """Return the flow's variables with `${connection.key}` replaced by what the connection holds."""
    found = {}
    for name, value in flow.environment_variables.items():
        match = _IN_VARIABLE.match(value)
        if match and match[1] in connections:
            connection = connections[match[1]]
            key = value.removeprefix(f"${{{match[1]}.").removesuffix("}")
            found[name] = {**connection.configs, **connection.secrets}.get(key, value)
    return found

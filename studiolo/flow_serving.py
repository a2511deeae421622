"""Serving and building a flow from the door: what it needs is gathered from the workspace and the environment."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows import connection_files, connections
from flows.serve.workers import Ready, Replaced, Serving, is_loopback, serve
from studiolo import flow_connections, flow_tests
from workspace.errors import Invalid, NotFound, did_you_mean

if TYPE_CHECKING:
    from flows.build import Built, Format
    from flows.flow import Flow
    from workspace import Workspace

SHORTEST_TOKEN = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A flow to serve, and how."""

    source: str
    name: str = ""  # as a chat model, where it is not the flow's own
    host: str = "127.0.0.1"
    port: int = 8080
    socket: Path | None = None
    workers: int = 1
    token: str = ""
    variant: str | None = None
    init: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    cassette: tuple[Path, str] | None = None  # a path, and "record" or "replay"


def token_for(host: str, *, file: Path | None, auth: bool) -> str:
    """Return the token that requests must bear: the file's, else a new one where others can reach the host, else none.

    >>> token_for("127.0.0.1", file=None, auth=True)
    ''
    """
    if not auth:
        if file is not None:
            raise Invalid("a token file and no authentication exclude each other", hint="leave one of them out")
        return ""
    if file is None:
        return "" if is_loopback(host) else secrets.token_urlsafe(32)
    try:
        token = file.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        raise NotFound(
            f"no token can be read from {str(file)!r}", hint="a file with the token and nothing else"
        ) from None
    if len(token) < SHORTEST_TOKEN or not token.isprintable() or " " in token:
        raise Invalid(f"the token in {str(file)!r} is too easy to guess", hint="openssl rand -hex 32 makes a good one")
    return token


def run(asked: Asked, stop: threading.Event) -> Iterator[Ready | Replaced]:
    """Serve a flow until `stop` is set. Fields of connections follow the environment, as where flows are deployed."""
    with flow_tests.prepared(asked.source, variant=asked.variant, init=asked.init, cassette=asked.cassette) as ready:
        known = {**ready.connections, **_from_environment(ready.flow)}
        known = {name: connections.resolve_environment(connections.override(each)) for name, each in known.items()}
        resolved = flow_connections.resolve_variables(ready.flow, known)
        variables = {**ready.flow.environment_variables, **resolved}
        flow = replace(ready.flow, name=asked.name or ready.flow.name, environment_variables=variables)
        serving = Serving(
            host=asked.host,
            port=asked.port,
            socket=asked.socket,
            workers=asked.workers,
            token=asked.token,
            init=asked.init,
            environment=asked.environment,
            home=ready.conditions.home,
            cassette=asked.cassette,
        )
        yield from serve(flow, known, serving, stop)


def build(source: str, output: Path, *, format: Format, variant: str | None = None) -> Built:  # noqa: A002
    """Build a flow with the connections it names, as templates: their secrets are not even opened."""
    from flows import build as building

    flow = flow_tests.load(source, variant=variant)
    names = flow_connections.named(flow)
    found = _templates(names) if names else {}
    for node in flow.nodes:
        if node.connection not in connections.LOCAL_NAMES and node.connection not in found:
            hint = did_you_mean(node.connection, found) or "studiolo connection create --file connection.yaml"
            raise NotFound(f"node {node.name!r} uses connection {node.connection!r}, which is not here", hint=hint)
    return building.build(flow, output, connections=found.values(), format=format)


def _from_environment(flow: Flow) -> dict[str, connections.Connection]:
    """The connections of the file that PROMPTFLOW_CONNECTIONS names, those that the flow uses."""
    names = flow_connections.named(flow)
    given = connection_files.from_environment() if names else {}
    return {name: each for name, each in given.items() if name in names}


def _templates(names: frozenset[str]) -> dict[str, connections.Connection]:
    from flows import connection_store
    from workspace import Workspace

    def bare(workspace: Workspace, name: str) -> connections.Connection:
        stored = connection_store.show(workspace, name)
        return connections.Connection(
            name=name, type=stored.type, configs=stored.configs, secrets=dict.fromkeys(stored.secret_names, "")
        )

    with Workspace.open() as workspace:
        known = {each.name for each in connection_store.list_connections(workspace)}
        return {name: bare(workspace, name) for name in sorted(names & known)}

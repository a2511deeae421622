"""The shelves of a workspace's catalog: the Hub's, the workspace's own models, those of providers that were added."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path

from catalog import providers
from catalog.index.publish import Changes, newest
from catalog.index.search import Shelf
from catalog.providers import LOCAL, Provider
from workspace.environment import hardware
from workspace.errors import Conflict, NotFound, did_you_mean
from workspace.home import Workspace
from workspace.paths import plain_name, write_atomically

_FOR_THE_REST = 0.75  # of the memory; the rest is for context, activations and what else runs
_HUB = "hub"
_LIST = "providers.json"
_SEEN = "seen"


def folder(workspace: Workspace) -> Path:
    """Return the folder of the Hub's snapshots."""
    return workspace.home / "catalog"


@contextmanager
def shelves(workspace: Workspace, provider: str | None = None) -> Iterator[list[Shelf]]:
    """Open the shelves, the workspace's own first, brought up to date; with `provider` that one alone."""
    names = [LOCAL, _HUB, *(each.name for each in added(workspace))]
    if provider is not None and provider not in names:
        raise NotFound(f"no provider {provider!r}", hint=did_you_mean(provider, names))
    _bring_own(workspace)
    with ExitStack() as stack:
        yield [
            stack.enter_context(Shelf.open(place, name))
            for name in names
            if provider in (None, name) and newest(place := _place(workspace, name)) is not None
        ]


def added(workspace: Workspace) -> list[Provider]:
    """Return the providers that were added."""
    try:
        told = json.loads((folder(workspace) / _LIST).read_bytes())
    except FileNotFoundError:
        return []
    return [Provider(**each) for each in told]


def add(workspace: Workspace, provider: Provider) -> Changes:
    """Bring a provider's models, and remember it. Raises Conflict where the name is taken."""
    plain_name(provider.name)
    if provider.name in (LOCAL, _HUB, *(each.name for each in added(workspace))):
        raise Conflict(f"there is a provider {provider.name!r} already", hint="choose another name, or remove it first")
    changes = refresh(workspace, provider)
    _remember(workspace, [*added(workspace), provider])
    return changes


def refresh(workspace: Workspace, provider: Provider) -> Changes:
    """Bring a provider's models anew. A server may be an address, or a connection with its key."""
    from flows import connection_store

    token = ""
    if provider.kind == "server" and "://" not in provider.where:
        connection = connection_store.get(workspace, provider.where)
        found = Provider(name=provider.name, kind="server", where=connection.base_url)
        token = connection.api_key
    else:
        found = provider
    return providers.bring(_place(workspace, provider.name), found.listed(token))


def remove(workspace: Workspace, name: str) -> None:
    """Forget a provider and its models. Raises NotFound."""
    known = added(workspace)
    if name not in [each.name for each in known]:
        raise NotFound(f"no provider {name!r}", hint=did_you_mean(name, [each.name for each in known]))
    _remember(workspace, [each for each in known if each.name != name])
    place = _place(workspace, name)
    for path in place.glob("*"):
        path.unlink()
    place.rmdir()


def room_for_weights() -> float:
    """Return how many bytes of weights this machine can hold: in its largest GPU, or else in its memory."""
    machine = dict(hardware())
    cards = [gpu["memory"] for gpu in machine["gpus"] if gpu.get("memory")]
    memory = max(cards, default=machine["memory"] or 0)
    return float(memory) * _FOR_THE_REST


def _place(workspace: Workspace, name: str) -> Path:
    return folder(workspace) if name == _HUB else folder(workspace) / "providers" / name


def _remember(workspace: Workspace, known: list[Provider]) -> None:
    folder(workspace).mkdir(parents=True, exist_ok=True, mode=0o700)
    write_atomically(folder(workspace) / _LIST, json.dumps([asdict(each) for each in known], indent=2))


def _bring_own(workspace: Workspace) -> None:
    """List the workspace's models anew where they are others than at the last look."""
    models = list(providers.of_workspace(workspace))
    seen = hashlib.sha256(repr(models).encode()).hexdigest()
    place = _place(workspace, LOCAL)
    mark = place / _SEEN
    if mark.exists() and mark.read_text() == seen and newest(place) is not None:
        return
    providers.bring(place, models)
    write_atomically(mark, seen)

"""Indexes from the door: made over the gateway's embedding model, or one that a connection reaches, and asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.connections import LOCAL_NAMES, Connection
from flows.flow import Flow
from flows.rag import embeddings, index_update, indexes
from flows.rag.chunks import Chunking
from flows.rag.index_update import Begun, Embedder, FileDone, Updated
from flows.rag.indexes import Passage
from flows.steps import Kit
from workspace import Workspace
from workspace.errors import NotFound

if TYPE_CHECKING:
    from workspace.run import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """An index to make or to bring up to date. `model` is asked over `connection`, the gateway where there is none."""

    name: str
    source: Path
    model: str = ""
    connection: str = ""
    chunking: Chunking = field(default_factory=Chunking)
    include: tuple[str, ...] = ()


def create(workspace: Workspace, asked: Asked) -> Iterator[Begun | FileDone | Updated]:
    """Make an index, or bring it up to date, as a run of kind "index" that knows its model."""
    model = asked.model or workspace.settings.embedder
    params = {"index": asked.name, "source": str(asked.source.absolute()), "model": model, **asked.chunking.settings()}
    index_update.find(asked.source, asked.include)  # what cannot begin leaves no run behind
    with _connected(workspace, asked.connection, model) as connection, workspace.run("index", params=params) as run:
        _remember_model(workspace, run, model if asked.connection in LOCAL_NAMES else "")
        for event in _each(workspace, asked, connection, model):
            if isinstance(event, Updated):
                run.log_metrics({
                    "files": float(event.about.files), "chunks": float(event.about.chunks), "added": float(event.added),
                    "removed": float(event.removed), "failed": float(len(event.failed)),
                })  # fmt: skip
            yield event


def query(
    workspace: Workspace,
    name: str,
    question: str,
    *,
    top: int = 4,
    only: Mapping[str, Any] | None = None,
    connection: str = "",
) -> list[Passage]:
    """Return the passages of an index nearest to a question."""
    about = indexes.get(workspace.home, name)
    with _connected(workspace, connection, about.model) as reached:
        (vector,) = asyncio.run(_embed(workspace, reached, [question], about.model))
    return indexes.query(workspace.home, name, vector, top=top, only=only)


def _each(
    workspace: Workspace, asked: Asked, connection: Connection, model: str
) -> Iterator[Begun | FileDone | Updated]:
    async def embed(texts: Sequence[str]) -> list[list[float]]:
        return await embeddings.embed(kit, connection, texts, model=model)

    with asyncio.Runner() as runner:
        kit = _kit(workspace, connection)
        count = _count(workspace, model) if asked.connection in LOCAL_NAMES else None
        events = index_update.update(
            workspace.home, asked.name, asked.source, Embedder(model, embed, count),
            chunking=asked.chunking, include=asked.include,
        )  # fmt: skip
        try:
            while (event := runner.run(anext(events, None))) is not None:
                yield event
        finally:
            runner.run(events.aclose())
            runner.run(kit.aclose())


def _count(workspace: Workspace, model: str) -> Callable[[str], int] | None:
    """Return what counts tokens as a model of ours does, None where that is not known."""
    from tokenizers import Tokenizer

    try:
        asset = workspace.assets.get("model", model)
    except NotFound:
        return None
    file = workspace.assets.path(asset) / "tokenizer.json"
    if not file.is_file():
        return None
    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)


async def _embed(workspace: Workspace, connection: Connection, texts: list[str], model: str) -> list[list[float]]:
    kit = _kit(workspace, connection)
    try:
        return await embeddings.embed(kit, connection, texts, model=model)
    finally:
        await kit.aclose()


def _kit(workspace: Workspace, connection: Connection) -> Kit:
    nothing = Flow(name="index", folder=workspace.home, file=workspace.home)
    return Kit(flow=nothing, connections={connection.name: connection}, home=workspace.home)


@contextmanager
def _connected(workspace: Workspace, name: str, model: str) -> Iterator[Connection]:
    if name not in LOCAL_NAMES:
        from flows import connection_store

        yield connection_store.get(workspace, name)
        return
    from catalog import embedded
    from serving.local import local_gateway

    for _ in embedded.prepare(workspace, [each for each in embedded.EMBEDDED if each.name == model]):
        pass
    with local_gateway(workspace) as gateway:
        yield Connection.to_gateway(gateway.base_url, gateway.token)


def _remember_model(workspace: Workspace, run: Run, model: str) -> None:
    if model:
        with suppress(NotFound):  # what answers by this name is no asset of ours
            run.input(workspace.assets.get("model", model).ref)

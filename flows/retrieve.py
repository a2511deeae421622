"""A tool that ships: `source: {type: package, tool: flows.retrieve.retrieve}` finds passages for a question."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Any

from flows import spans
from flows.connections import DEFAULT, LOCAL_NAMES, find
from flows.rag import embeddings, indexes
from flows.steps import KIT
from workspace.errors import Invalid


async def retrieve(
    index: str,
    query: str,
    top_k: int = 4,
    filter: dict[str, Any] | None = None,  # noqa: A002 - what flows write
    connection: str = "",
) -> list[dict[str, Any]]:
    """Return the passages of an index nearest to a question, the nearest first.

    Each is `{"text", "score", "source", "heading", "line", "page", "place"}`; `place` is what an answer cites.
    `filter` looks only there: `{source: guide.md}`, `{source: [a.md, b.pdf], page: 1}`. `connection` names where the
    index's embedding model answers, else the gateway.
    """
    kit = KIT.get()
    if kit is None or kit.home is None:
        raise Invalid("retrieve runs inside a flow of a workspace", hint="studiolo index query asks from outside")
    about = indexes.get(kit.home, index)
    asked = {"index": index, "query": query, "top_k": top_k, **({"filter": filter} if filter else {})}
    attributes = {"gen_ai.operation.name": "retrieval", "gen_ai.data_source.id": index}
    with spans.child("retrieval", "retrieve", inputs=asked, attributes=attributes) as span:
        where = find(kit.connections, DEFAULT if connection in LOCAL_NAMES else connection)
        (vector,) = await embeddings.embed(kit, where, [query], model=about.model)
        found = await asyncio.to_thread(indexes.query, kit.home, index, vector, top=top_k, only=filter)
        span.output = [{**asdict(passage), "place": passage.place} for passage in found]
        passages: list[dict[str, Any]] = span.output
        return passages

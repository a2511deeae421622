"""Every route of the gateway, a row each: what is not here is 404, whatever the engines behind it would answer."""

from __future__ import annotations

from serving.api import messages, responses
from serving.asking import ask
from serving.routing import described, shown
from serving.table import Route, Table
from serving.visit import Visit

# What goes to an engine as it came, under the paths that OpenAI's and vLLM's clients know it by.
FORWARDED = {
    "/v1/chat/completions": "Continue a conversation",
    "/v1/completions": "Continue a text",
    "/v1/embeddings": "Turn texts into vectors",
    "/v1/rerank": "Order documents by how well they answer a query",
    "/v2/rerank": "Order documents by how well they answer a query",
    "/rerank": "Order documents by how well they answer a query",
    "/v1/score": "Score pairs of texts by a reranking model",
    "/tokenize": "Turn a text or a conversation into token numbers",
    "/detokenize": "Turn token numbers into text",
}


async def health(visit: Visit) -> None:
    """Say that the gateway lives, and which engines do."""
    engines = await visit.house.engines.described()
    await visit.answer({"status": "ok", "service": "gateway", "engines": engines})


async def models(visit: Visit) -> None:
    """List what can be asked for."""
    known = await visit.house.models.current()
    await visit.answer({"object": "list", "data": [described(known, name) for name in shown(known)]})


async def model(visit: Visit) -> None:
    """Describe one model; its id may hold slashes."""
    await visit.answer(described(await visit.house.models.current(), visit.values["id"]))


def table() -> Table:
    """Return the routes of the gateway."""
    forwarded = [_forwarded(path, summary) for path, summary in FORWARDED.items()]
    return Table([*_OWN, *forwarded, *responses.ROUTES, *messages.ROUTES])


def _forwarded(path: str, summary: str) -> Route:
    return Route(path=path, method="POST", answer=ask, scope="ask", summary=summary)


_OWN = (
    Route(path="/health", method="GET", answer=health, scope="open", summary="Whether the gateway lives"),
    Route(path="/v1/models", method="GET", answer=models, scope="look", summary="List the models"),
    Route(path="/v1/models/{id:path}", method="GET", answer=model, scope="look", summary="Describe a model"),
)

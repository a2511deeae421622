"""Every route of the gateway, a row each: what is not here is 404, whatever the engines behind it would answer."""

from __future__ import annotations

from collections.abc import Mapping

from serving import scoring
from serving.api import batches, files, messages, openapi, responses, schemas
from serving.api.schemas import Schema
from serving.asking import ask
from serving.batch import routes as batch
from serving.metrics import CONTENT_TYPE
from serving.routing import described, shown
from serving.table import Route, Table
from serving.visit import Visit

# What goes to an engine as it came, under the paths that OpenAI's and vLLM's clients know it by.
FORWARDED: Mapping[str, tuple[str, Schema]] = {
    "/v1/chat/completions": ("Continue a conversation", schemas.CHAT),
    "/v1/completions": ("Continue a text", schemas.COMPLETION),
    "/v1/embeddings": ("Turn texts into vectors", schemas.EMBEDDING),
    "/v1/rerank": ("Order documents by how well they answer a query", schemas.RERANK),
    "/v2/rerank": ("Order documents by how well they answer a query", schemas.RERANK),
    "/rerank": ("Order documents by how well they answer a query", schemas.RERANK),
    "/v1/score": ("Score pairs of texts by a reranking model", schemas.SCORE),
    "/tokenize": ("Turn a text or a conversation into token numbers", schemas.TOKENIZE),
    "/detokenize": ("Turn token numbers into text", schemas.DETOKENIZE),
}


async def health(visit: Visit) -> None:
    """Say that the gateway lives, and which engines do."""
    engines = await visit.house.engines.described()
    await visit.answer({"status": "ok", "service": "gateway", "engines": engines})


async def metrics(visit: Visit) -> None:
    """Tell Prometheus."""
    house = visit.house
    engines = await house.engines.described()
    text = house.metrics.text(house.plane.backends.loads, engines, dropped=house.mirror.dropped)
    await visit.answer_bytes(text, kind=CONTENT_TYPE)


async def models(visit: Visit) -> None:
    """List what the key may ask for."""
    known = await visit.house.models.current()
    allowed = visit.call.key.endpoints if visit.call.key else None
    names = [name for name in shown(known) if allowed is None or name in allowed]
    await visit.answer({"object": "list", "data": [described(known, name) for name in names]})


async def model(visit: Visit) -> None:
    """Describe one model; its id may hold slashes."""
    await visit.answer(described(await visit.house.models.current(), visit.values["id"]))


def table() -> Table:
    """Return the routes of the gateway."""
    forwarded = [_forwarded(path, summary, schema) for path, (summary, schema) in FORWARDED.items()]
    spoken = [*responses.ROUTES, *messages.ROUTES, *files.ROUTES, *batches.ROUTES]
    routes = [*_OWN, *forwarded, *spoken, *scoring.ROUTES, *batch.ROUTES]
    return Table([*routes, openapi.described(routes)])


def _forwarded(path: str, summary: str, request: Schema) -> Route:
    return Route(path=path, method="POST", answer=ask, scope="ask", summary=summary, request=request)


_OWN = (
    Route(path="/health", method="GET", answer=health, scope="open", summary="Whether the gateway lives"),
    Route(path="/metrics", method="GET", answer=metrics, scope="look", summary="Numbers for Prometheus"),
    Route(path="/v1/models", method="GET", answer=models, scope="look", summary="List the models"),
    Route(path="/v1/models/{id:path}", method="GET", answer=model, scope="look", summary="Describe a model"),
)

"""/v1/rerank as Jina, Cohere and vLLM have it, and /v1/score as vLLM has it."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from serving.engines.fields import flag, parse, whole, word, wrong
from serving.engines.rerank import Pair, Scorer

MOST_DOCUMENTS = 2048


@dataclass(frozen=True, slots=True)
class Ranking:
    """Documents to be put in order of how well they fit a query."""

    query: str
    documents: tuple[str, ...]
    most: int  # of the best to be told
    told: bool  # whether the documents come back with their scores


def read_rerank(body: Mapping[str, Any]) -> Ranking:
    """Read the body of /v1/rerank; a document is a text or an object with a `text`."""
    documents = body.get("documents")
    if not isinstance(documents, list) or not documents:
        raise wrong("'documents' must be a list of texts", param="documents")
    texts = tuple(_document(item, f"documents.{index}") for index, item in enumerate(_few(documents, "documents")))
    most = whole(body, "top_n", 0, None) or len(texts)
    return Ranking(word(body, "query"), texts, most, flag(body, "return_documents", default=True))


def read_score(body: Mapping[str, Any]) -> list[Pair]:
    """Read the body of /v1/score: one text with each of several, or each with the one at its place."""
    left, right = (_texts(body, field) for field in ("text_1", "text_2"))
    if len(left) not in (1, len(right)):
        raise wrong(f"'text_1' has {len(left)} texts and 'text_2' {len(right)}: one, or as many", param="text_1")
    return list(zip(left * (len(right) // len(left)), right, strict=True))


def scoring(scorer: Scorer, name: str) -> list[Route]:
    """Return the routes that rank and score with a model."""

    async def rerank(request: Request) -> Response:
        ask = read_rerank(parse(await request.body()))
        pairs = [(ask.query, document) for document in ask.documents]
        scores, tokens = await asyncio.to_thread(scorer.score, pairs, "documents")
        best = sorted(range(len(scores)), key=lambda index: -scores[index])[: ask.most]
        results = [
            {"index": index, "relevance_score": scores[index]}
            | ({"document": {"text": ask.documents[index]}} if ask.told else {})
            for index in best
        ]
        head = {"id": f"rerank-{secrets.token_hex(12)}", "model": name}
        return JSONResponse({**head, "usage": _usage(tokens), "results": results})

    async def score(request: Request) -> Response:
        pairs = read_score(parse(await request.body()))
        scores, tokens = await asyncio.to_thread(scorer.score, pairs, "text_2")
        rows = [{"index": index, "object": "score", "score": value} for index, value in enumerate(scores)]
        head = {"id": f"score-{secrets.token_hex(12)}", "object": "list", "created": int(time.time()), "model": name}
        return JSONResponse({**head, "data": rows, "usage": _usage(tokens)})

    ranks = [Route(path, rerank, methods=["POST"]) for path in ("/v1/rerank", "/v2/rerank", "/rerank")]
    return [*ranks, *(Route(path, score, methods=["POST"]) for path in ("/v1/score", "/score"))]


def _usage(tokens: int) -> dict[str, int]:
    return {"prompt_tokens": tokens, "total_tokens": tokens}


def _document(item: object, where: str) -> str:
    text = item.get("text") if isinstance(item, dict) else item
    if not isinstance(text, str):
        raise wrong(f"'{where}' must be a text, or an object with a 'text'", param=where)
    return text


def _texts(body: Mapping[str, Any], field: str) -> list[str]:
    value = body.get(field)
    found = [value] if isinstance(value, str) else value
    if not isinstance(found, list) or not found or not all(isinstance(item, str) for item in found):
        raise wrong(f"'{field}' must be a text or a list of texts", param=field)
    return list(_few(found, field))


def _few(items: Sequence[Any], field: str) -> Sequence[Any]:
    if len(items) > MOST_DOCUMENTS:
        raise wrong(f"'{field}' takes at most {MOST_DOCUMENTS} texts", param=field)
    return items

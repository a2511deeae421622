"""Texts as vectors, asked of a model server over a connection."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from flows import model_server, spans
from flows.connections import Connection
from flows.model_server import Refused
from workspace.errors import Invalid

if TYPE_CHECKING:
    import httpx

    from flows.steps import Kit

AT_ONCE = 64  # texts in one request
_SHORTEST = 200  # characters; what is refused as too long and is shorter than this is refused for another reason

Vector = list[float]


async def embed(kit: Kit, connection: Connection, texts: Sequence[str], *, model: str) -> list[Vector]:
    """Return one vector for each text, in order; one longer than the model reads has the mean of its halves.

    Raises Refused where the server does not answer, Invalid where the connection reaches no model.
    """
    parts = [texts[start : start + AT_ONCE] for start in range(0, len(texts), AT_ONCE)]
    found = await asyncio.gather(*(_embedded(kit, connection, list(part), model) for part in parts))
    return [vector for vectors in found for vector in vectors]


async def _embedded(kit: Kit, connection: Connection, texts: list[str], model: str) -> list[Vector]:
    try:
        return await _asked(kit, connection, texts, model)
    except Refused as error:
        if error.code != "context_length_exceeded" and "context length" not in str(error):
            raise
        if len(texts) > 1:
            middle = len(texts) // 2
            left, right = texts[:middle], texts[middle:]
            return [*await _embedded(kit, connection, left, model), *await _embedded(kit, connection, right, model)]
        (text,) = texts
        if len(text) < _SHORTEST:
            raise
        middle = len(text) // 2
        halves = await _embedded(kit, connection, [text[:middle], text[middle:]], model)
        return [_mean(*halves)]


async def _asked(kit: Kit, connection: Connection, texts: list[str], model: str) -> list[Vector]:
    asked = model_server.request(connection, api="embeddings", body={"model": model, "input": texts})
    attributes = {"gen_ai.operation.name": "embeddings", "gen_ai.request.model": model}
    with spans.child("embedding", f"{asked.provider}.embeddings", inputs=texts, attributes=attributes) as span:
        answer = await model_server.exchange(kit, asked, _read)
        vectors = [each["embedding"] for each in sorted(answer["data"], key=lambda each: each["index"])]
        if len(vectors) != len(texts):
            raise Refused(f"the model server gave {len(vectors)} vectors for {len(texts)} texts")
        used = int((answer.get("usage") or {}).get("prompt_tokens") or 0)
        span.prompt_tokens, span.model = used, str(answer.get("model") or model)
        span.output = f"{len(vectors)} vectors of {len(vectors[0])} numbers"
        span.set(gen_ai__usage__input_tokens=used, gen_ai__response__model=span.model)
        return vectors


def _read(response: httpx.Response) -> dict[str, Any]:
    try:
        answer: dict[str, Any] = response.json()
        data = answer["data"]
        if not data or not all(isinstance(each["embedding"], list) and "index" in each for each in data):
            raise ValueError
    except (ValueError, LookupError, TypeError) as error:
        raise Refused(f"the model server answered what no embedding server does: {response.text[:200]}") from error
    if asset := response.headers.get("x-studiolo-model"):
        answer["model"] = asset
    return answer


def _mean(one: Vector, other: Vector) -> Vector:
    total = [a + b for a, b in zip(one, other, strict=True)]
    length = math.sqrt(sum(each * each for each in total))
    if not length:
        raise Invalid("the vectors of a text's halves cancel out", hint="make the chunks shorter")
    return [each / length for each in total]

"""Chat models and embedders that scorers ask: one request, tried again while the server is busy, or Unavailable."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import httpx

from evals.samples import Sample, as_text
from workspace.errors import Unavailable

ATTEMPTS = 4
_AGAIN = {408, 409, 425, 429, 500, 502, 503, 504}
_LONGEST_WAIT = 30.0
_LONGEST_REPLY = 20_000  # characters that are searched for a verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatModel:
    """A chat model (or an embedder) behind an OpenAI-compatible address."""

    base_url: str
    model: str
    api_key: str = field(repr=False, default="")
    timeout: float = 180.0  # seconds: a model that is asked first may have to be loaded
    pause: float = 0.25  # seconds before the second attempt; each further one waits twice as long


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model said, and which revision of it spoke."""

    text: str
    model: str


def ask(
    chat: ChatModel, system: str, prompt: str, *, schema: Mapping[str, Any] | None = None, tokens: int = 512
) -> Reply:
    """Ask once, greedily; raise Unavailable where no answer comes.

    A `schema` is asked for as structured output; a server that has none is asked again in plain words.
    """
    body: dict[str, Any] = {
        "model": chat.model,
        "messages": [{"role": "system", "content": system}, {"role": "user", "content": prompt}],
        "temperature": 0,
        "max_tokens": tokens,
    }
    if schema is None:
        response = _posted(chat, "chat/completions", body)
    else:
        named = {"name": "verdict", "schema": schema, "strict": True}
        response = _posted(
            chat, "chat/completions", body | {"response_format": {"type": "json_schema"} | {"json_schema": named}}
        )
        if response.status_code in (400, 404, 415, 422, 501):
            response = _posted(chat, "chat/completions", body)
    answer = _read(response)
    try:
        text = answer["choices"][0]["message"]["content"]
    except (LookupError, TypeError) as error:
        raise Unavailable("the model server's answer is no chat completion") from error
    return Reply(text if isinstance(text, str) else "", _revision(response, answer, chat))


def embed(embedder: ChatModel, texts: Sequence[str]) -> list[list[float]]:
    """Return one vector for each text; raise Unavailable where none comes."""
    answer = _read(_posted(embedder, "embeddings", {"model": embedder.model, "input": [*texts]}))
    try:
        vectors = [each["embedding"] for each in sorted(answer["data"], key=lambda each: each["index"])]
        if len(vectors) != len(texts):
            raise ValueError
        return [[float(number) for number in vector] for vector in vectors]
    except (LookupError, TypeError, ValueError) as error:
        raise Unavailable("the answer of the embedder holds no vectors") from error


def question_of(sample: Sample) -> str:
    """Return what was asked as one text."""
    return "\n".join(f"{key}: {as_text(value)}" for key, value in sample.inputs.items())


def _posted(chat: ChatModel, path: str, body: Mapping[str, Any]) -> httpx.Response:
    headers = {"Authorization": f"Bearer {chat.api_key}"} if chat.api_key else {}
    url = f"{chat.base_url.rstrip('/')}/{path}"
    for attempt in range(1, ATTEMPTS + 1):
        try:
            response = _client(chat.base_url).post(
                url, headers=headers, json=body, timeout=httpx.Timeout(chat.timeout, connect=10.0)
            )
        except httpx.TransportError as error:
            if attempt == ATTEMPTS or isinstance(error, httpx.TimeoutException | httpx.UnsupportedProtocol):
                raise Unavailable(f"the model server cannot be reached: {error or type(error).__name__}") from error
            time.sleep(_pause(chat, attempt, None))
            continue
        if response.status_code not in _AGAIN or attempt == ATTEMPTS:
            return response
        time.sleep(_pause(chat, attempt, response.headers.get("retry-after")))
    raise AssertionError("unreachable")


@lru_cache(maxsize=16)
def _client(_: str) -> httpx.Client:
    """One client for each server: making one takes as long as many answers, for its certificates."""
    return httpx.Client(limits=httpx.Limits(max_keepalive_connections=64, max_connections=None))


def _pause(chat: ChatModel, attempt: int, said: str | None) -> float:
    try:
        return min(float(said or ""), _LONGEST_WAIT)
    except ValueError:
        return chat.pause * float(1 << (attempt - 1)) * random.uniform(0.5, 1.0)  # noqa: S311 - nothing secret hangs on it


def _read(response: httpx.Response) -> dict[str, Any]:
    if response.is_error:
        raise Unavailable(f"the model server answered {response.status_code}: {response.text[:200]}")
    try:
        answer = response.json()
    except ValueError as error:
        raise Unavailable("the model server's answer is no chat completion") from error
    if not isinstance(answer, dict):
        raise Unavailable("the model server's answer is no chat completion")
    return answer


def _revision(response: httpx.Response, answer: Mapping[str, Any], chat: ChatModel) -> str:
    return str(response.headers.get("x-studiolo-model") or answer.get("model") or chat.model)


def verdict(reply: str) -> Mapping[str, Any] | None:
    """Return the one JSON object that a reply holds, alone or in a fence; None where it holds none or several.

    >>> verdict('Here: {"winner": "A"}'), verdict("A")
    ({'winner': 'A'}, None)
    """
    reply = reply[:_LONGEST_REPLY]
    decoder, found, at = json.JSONDecoder(), [], 0
    while (at := reply.find("{", at)) >= 0:
        try:
            value, end = decoder.raw_decode(reply, at)
        except (ValueError, RecursionError):
            at += 1
            continue
        found.append(value)
        at = end
    return found[0] if len(found) == 1 and isinstance(found[0], dict) else None

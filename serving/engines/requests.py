"""What a client may ask of an engine: OpenAI's request bodies, read once into frozen records or refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from catalog.chat_templates import Message
from serving.engines.fields import biases, flag, member, number, schema, texts, unsupported, whole, wrong
from serving.engines.messages import read_messages
from serving.engines.tools import Offer, read_offer

MOST_CHOICES = 16
MOST_STOPS = 16
MOST_LOGPROBS = 20

# Fields of OpenAI's that this engine cannot honour, each with the values that ask for nothing.
# A field nobody knows is tolerated (`extra_body`); one of these with another value is refused by name.
NEUTRAL: Mapping[str, tuple[object, ...]] = {
    "reasoning_effort": ("none",),
    "service_tier": ("auto", "default"),
    "verbosity": ("medium",),
}
NEUTRAL_IN_CHAT: Mapping[str, tuple[object, ...]] = {
    "audio": (),
    "function_call": ("none",),
    "functions": ([],),
    "modalities": (["text"],),
    "prediction": (),
    "web_search_options": (),
}
NEUTRAL_IN_COMPLETIONS: Mapping[str, tuple[object, ...]] = {"suffix": ("",), "tools": ([],), "tool_choice": ("none",)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How the next token is chosen and when to stop; temperature 0 is greedy."""

    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: tuple[tuple[int, float], ...] = ()
    logprobs: int | None = None  # how many likely tokens to tell beside each token's own probability; None: nothing
    score_prompt: bool = False  # tell the probabilities of the prompt's tokens too


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How many answers to each prompt, what they look like, and how they travel."""

    sampling: Sampling
    n: int = 1
    best_of: int = 1  # answers made, of which the n likeliest are given; never less than n
    schema: Mapping[str, Any] | None = None  # the JSON Schema that every answer obeys
    stream: bool = False
    include_usage: bool = False


@dataclass(frozen=True, slots=True)
class Chat:
    """A conversation to be continued, by text or by calls of functions."""

    messages: tuple[Message, ...]
    options: Options
    offer: Offer


@dataclass(frozen=True, slots=True)
class Completion:
    """Texts, or token numbers, to be continued; `echo` repeats them before the answer."""

    prompts: tuple[str | tuple[int, ...], ...]
    options: Options
    echo: bool = False


@dataclass(frozen=True, slots=True)
class Embedding:
    """Texts, or token numbers, to be turned into vectors."""

    inputs: tuple[str | tuple[int, ...], ...]
    encoding: Literal["float", "base64"]
    dimensions: int | None


def read_chat(body: Mapping[str, Any]) -> Chat:
    """Read the body of /v1/chat/completions."""
    _refuse_others(body, NEUTRAL_IN_CHAT)
    top = whole(body, "top_logprobs", 0, MOST_LOGPROBS)
    scored = flag(body, "logprobs")
    if top and not scored:
        raise wrong("'top_logprobs' needs 'logprobs': true", param="top_logprobs")
    newer = whole(body, "max_completion_tokens", 1, None)
    limit = whole(body, "max_tokens", 1, None) if newer is None else newer
    sampling = _sampling(body, limit, logprobs=(top or 0) if scored else None)
    n = whole(body, "n", 1, MOST_CHOICES) or 1
    return Chat(read_messages(body), _options(body, sampling, n=n, best_of=n), read_offer(body))


def read_completion(body: Mapping[str, Any]) -> Completion:
    """Read the body of /v1/completions; without `max_tokens` an answer has 16 tokens, as at OpenAI."""
    _refuse_others(body, NEUTRAL_IN_COMPLETIONS)
    echo = flag(body, "echo")
    limit = whole(body, "max_tokens", 0 if echo else 1, None)
    logprobs = None if body.get("logprobs") is False else whole(body, "logprobs", 0, MOST_LOGPROBS)
    sampling = _sampling(body, 16 if limit is None else limit, logprobs=logprobs, echo=echo)
    n = whole(body, "n", 1, MOST_CHOICES) or 1
    best_of = whole(body, "best_of", n, MOST_CHOICES) or n
    if best_of > n and flag(body, "stream"):
        raise wrong("the best answers are known only once all have ended: no 'stream'", param="best_of")
    return Completion(texts(body, "prompt"), _options(body, sampling, n=n, best_of=best_of), echo)


def read_embedding(body: Mapping[str, Any]) -> Embedding:
    """Read the body of /v1/embeddings."""
    encoding: Literal["float", "base64"] = body.get("encoding_format") or "float"
    if encoding not in ("float", "base64"):
        raise wrong(f"'encoding_format' must be 'float' or 'base64', not {encoding!r}", param="encoding_format")
    return Embedding(texts(body, "input"), encoding, whole(body, "dimensions", 1, None))


def _refuse_others(body: Mapping[str, Any], neutral: Mapping[str, tuple[object, ...]]) -> None:
    for field, values in {**NEUTRAL, **neutral}.items():
        value = body.get(field)
        if value is not None and value not in values:
            raise unsupported(f"{field!r} is not supported by this engine", param=field)


def _sampling(body: Mapping[str, Any], limit: int | None, *, logprobs: int | None, echo: bool = False) -> Sampling:
    return Sampling(
        temperature=number(body, "temperature", 0, 2),
        top_p=number(body, "top_p", 0, 1),
        seed=whole(body, "seed", -(2**63), 2**63 - 1),
        max_tokens=limit,
        stop=_stops(body),
        presence_penalty=number(body, "presence_penalty", -2, 2, default=0.0),
        frequency_penalty=number(body, "frequency_penalty", -2, 2, default=0.0),
        logit_bias=biases(body),
        logprobs=logprobs,
        score_prompt=echo and logprobs is not None,
    )


def _options(body: Mapping[str, Any], sampling: Sampling, *, n: int, best_of: int) -> Options:
    return Options(
        sampling=sampling,
        n=n,
        best_of=best_of,
        schema=_schema(body),
        stream=flag(body, "stream"),
        include_usage=_include_usage(body),
    )


def _schema(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    wanted = member(body, "response_format")
    kind = wanted.get("type") if wanted else "text"
    if wanted is None or kind == "text":
        return None
    if kind == "json_object":
        return {"type": "object"}
    if kind != "json_schema":
        raise wrong(f"no response format {kind!r}: 'text', 'json_object' or 'json_schema'", param="response_format")
    told = wanted.get("json_schema")
    if not isinstance(told, dict) or "schema" not in told:
        raise wrong("'json_schema' must be an object with a 'schema'", param="response_format")
    return schema(told["schema"], param="response_format")


def _include_usage(body: Mapping[str, Any]) -> bool:
    options = member(body, "stream_options")
    if options is None:
        return False
    if not flag(body, "stream"):
        raise wrong("'stream_options' needs 'stream': true", param="stream_options")
    return flag(options, "include_usage", where="stream_options.")


def _stops(body: Mapping[str, Any]) -> tuple[str, ...]:
    value = body.get("stop")
    stops = [] if value is None else [value] if isinstance(value, str) else value
    if not isinstance(stops, list) or not all(isinstance(stop, str) for stop in stops):
        raise wrong("'stop' must be text or a list of texts", param="stop")
    if len(stops) > MOST_STOPS:
        raise wrong(f"'stop' takes at most {MOST_STOPS} texts", param="stop")
    return tuple(stop for stop in stops if stop)

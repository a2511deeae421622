"""What a client may ask of an engine: OpenAI's request bodies, read once into frozen records or refused by name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from serving.openai_errors import Refusal

ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
MOST_CHOICES = 16
MOST_STOPS = 16

# Fields of OpenAI's that this engine cannot honour, each with the values that ask for nothing.
# A field nobody knows is tolerated (`extra_body`); one of these with another value is refused by name.
NEUTRAL: Mapping[str, tuple[object, ...]] = {
    "audio": (),
    "best_of": (1,),
    "echo": (False,),
    "frequency_penalty": (0,),
    "function_call": ("none",),
    "functions": ([],),
    "logit_bias": ({},),
    "logprobs": (False, 0),
    "modalities": (["text"],),
    "prediction": (),
    "presence_penalty": (0,),
    "reasoning_effort": ("none",),
    "response_format": ({"type": "text"},),
    "suffix": ("",),
    "tool_choice": ("none", "auto"),
    "tools": ([],),
    "top_logprobs": (0,),
    "web_search_options": (),
}


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
    """How many answers to each prompt, and how they travel."""

    sampling: Sampling
    n: int = 1
    stream: bool = False
    include_usage: bool = False


@dataclass(frozen=True, slots=True)
class Chat:
    """A conversation to be continued."""

    messages: tuple[tuple[str, str], ...]  # (role, text)
    options: Options


@dataclass(frozen=True, slots=True)
class Completion:
    """Texts, or token numbers, to be continued."""

    prompts: tuple[str | tuple[int, ...], ...]
    options: Options


@dataclass(frozen=True, slots=True)
class Embedding:
    """Texts, or token numbers, to be turned into vectors."""

    inputs: tuple[str | tuple[int, ...], ...]
    encoding: Literal["float", "base64"]
    dimensions: int | None


def wrong(message: str, *, param: str | None = None, code: str = "invalid_value") -> Refusal:
    """Return the refusal of a request that cannot be right, naming the field at fault."""
    return Refusal(400, message, code=code, param=param)


def parse(raw: bytes) -> Mapping[str, Any]:
    """Return the JSON object in a request body."""
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        raise wrong("the body is not JSON") from None
    if not isinstance(body, dict):
        raise wrong("the body must be a JSON object")
    return body


def read_chat(body: Mapping[str, Any]) -> Chat:
    """Read the body of /v1/chat/completions."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise wrong("'messages' must be a list with at least one message", param="messages")
    read = tuple(_message(message, f"messages.{index}") for index, message in enumerate(messages))
    return Chat(read, _options(body, longest=None))


def read_completion(body: Mapping[str, Any]) -> Completion:
    """Read the body of /v1/completions; without `max_tokens` an answer has 16 tokens, as at OpenAI."""
    return Completion(_texts(body, "prompt"), _options(body, longest=16))


def read_embedding(body: Mapping[str, Any]) -> Embedding:
    """Read the body of /v1/embeddings."""
    encoding: Literal["float", "base64"] = body.get("encoding_format") or "float"
    if encoding not in ("float", "base64"):
        raise wrong(f"'encoding_format' must be 'float' or 'base64', not {encoding!r}", param="encoding_format")
    return Embedding(_texts(body, "input"), encoding, _whole(body, "dimensions", 1, None))


def _message(message: object, where: str) -> tuple[str, str]:
    if not isinstance(message, dict):
        raise wrong(f"'{where}' must be an object with 'role' and 'content'", param=where)
    role = message.get("role")
    if role not in ROLES:
        raise wrong(f"role {role!r} is not one of {', '.join(ROLES)}", param=f"{where}.role")
    if message.get("tool_calls"):
        raise wrong("this engine does not call tools", param=f"{where}.tool_calls", code="unsupported_parameter")
    return ROLES[role], _content(message.get("content"), f"{where}.content", required=role != "assistant")


def _content(content: object, where: str, *, required: bool) -> str:
    if content is None and not required:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise wrong(f"'{where}' must be text or a list of parts", param=where)
    texts = []
    for index, part in enumerate(content):
        kind = part.get("type") if isinstance(part, dict) else None
        if kind != "text":
            raise wrong(f"content of type {kind!r} is not supported, only 'text'", param=f"{where}.{index}.type")
        if not isinstance(part.get("text"), str):
            raise wrong("a text part needs 'text'", param=f"{where}.{index}.text")
        texts.append(part["text"])
    return "".join(texts)


def _texts(body: Mapping[str, Any], field: str) -> tuple[str | tuple[int, ...], ...]:
    value = body.get(field)
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list) and value:
        if all(isinstance(item, str) for item in value):
            return tuple(value)
        if _are_tokens(value):
            return (tuple(value),)
        if all(isinstance(item, list) and item and _are_tokens(item) for item in value):
            return tuple(tuple(item) for item in value)
    raise wrong(f"'{field}' must be text, a list of texts, or token numbers", param=field)


def _are_tokens(items: list[object]) -> bool:
    return all(isinstance(item, int) and not isinstance(item, bool) and item >= 0 for item in items)


def _options(body: Mapping[str, Any], *, longest: int | None) -> Options:
    for field, neutral in NEUTRAL.items():
        value = body.get(field)
        if value is not None and value not in neutral:
            raise wrong(f"{field!r} is not supported by this engine", param=field, code="unsupported_parameter")
    return Options(
        sampling=Sampling(
            temperature=_number(body, "temperature", 0, 2),
            top_p=_number(body, "top_p", 0, 1),
            seed=_whole(body, "seed", -(2**63), 2**63 - 1),
            max_tokens=_longest(body) or longest,
            stop=_stops(body),
        ),
        n=_whole(body, "n", 1, MOST_CHOICES) or 1,
        stream=_flag(body, "stream"),
        include_usage=_include_usage(body),
    )


def _longest(body: Mapping[str, Any]) -> int | None:
    newer = _whole(body, "max_completion_tokens", 1, None)
    return _whole(body, "max_tokens", 1, None) if newer is None else newer


def _include_usage(body: Mapping[str, Any]) -> bool:
    options = body.get("stream_options")
    if options is None:
        return False
    if not isinstance(options, dict):
        raise wrong("'stream_options' must be an object", param="stream_options")
    if not _flag(body, "stream"):
        raise wrong("'stream_options' needs 'stream': true", param="stream_options")
    return _flag(options, "include_usage", where="stream_options.")


def _stops(body: Mapping[str, Any]) -> tuple[str, ...]:
    value = body.get("stop")
    stops = [] if value is None else [value] if isinstance(value, str) else value
    if not isinstance(stops, list) or not all(isinstance(stop, str) for stop in stops):
        raise wrong("'stop' must be text or a list of texts", param="stop")
    if len(stops) > MOST_STOPS:
        raise wrong(f"'stop' takes at most {MOST_STOPS} texts", param="stop")
    return tuple(stop for stop in stops if stop)


def _flag(body: Mapping[str, Any], field: str, *, where: str = "") -> bool:
    value = body.get(field)
    if value is not None and not isinstance(value, bool):
        raise wrong(f"'{where}{field}' must be true or false", param=f"{where}{field}")
    return bool(value)


def _number(body: Mapping[str, Any], field: str, low: float, high: float) -> float:
    value = body.get(field)
    if value is None:
        return 1.0
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise wrong(f"{field!r} must be a number from {low} to {high}, not {value!r}", param=field)
    return float(value)


def _whole(body: Mapping[str, Any], field: str, low: int, high: int | None) -> int | None:
    value = body.get(field)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < low or (high is not None and value > high):
        span = f"from {low} to {high}" if high is not None else f"of at least {low}"
        raise wrong(f"{field!r} must be a whole number {span}, not {value!r}", param=field)
    return value

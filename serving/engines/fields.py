"""Reading one field of a request's body: the right kind of value, or a refusal that names the field."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from serving.openai_errors import Refusal

DEEPEST = 100  # levels of a JSON Schema


def wrong(message: str, *, param: str | None = None, code: str = "invalid_value") -> Refusal:
    """Return the refusal of a request that cannot be right, naming the field at fault."""
    return Refusal(400, message, code=code, param=param)


def unsupported(message: str, *, param: str) -> Refusal:
    """Return the refusal of a request that is right, but not for this engine."""
    return wrong(message, param=param, code="unsupported_parameter")


def parse(raw: bytes) -> Mapping[str, Any]:
    """Return the JSON object in a request body."""
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        raise wrong("the body is not JSON") from None
    if not isinstance(body, dict):
        raise wrong("the body must be a JSON object")
    return body


def flag(body: Mapping[str, Any], field: str, *, where: str = "", default: bool = False) -> bool:
    """Return a field that is true or false."""
    value = body.get(field)
    if value is not None and not isinstance(value, bool):
        raise wrong(f"'{where}{field}' must be true or false", param=f"{where}{field}")
    return default if value is None else value


def number(body: Mapping[str, Any], field: str, low: float, high: float, *, default: float = 1.0) -> float:
    """Return a field that is a number within bounds."""
    value = body.get(field)
    if value is None:
        return default
    if not _is_number(value) or not low <= value <= high:
        raise wrong(f"{field!r} must be a number from {low} to {high}, not {value!r}", param=field)
    return float(value)


def whole(body: Mapping[str, Any], field: str, low: int, high: int | None) -> int | None:
    """Return a field that is a whole number within bounds, or None where it is left out."""
    value = body.get(field)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < low or (high is not None and value > high):
        span = f"from {low} to {high}" if high is not None else f"of at least {low}"
        raise wrong(f"{field!r} must be a whole number {span}, not {value!r}", param=field)
    return value


def member(body: Mapping[str, Any], field: str, *, where: str = "") -> Mapping[str, Any] | None:
    """Return a field that is an object, or None where it is left out."""
    value = body.get(field)
    if value is not None and not isinstance(value, dict):
        raise wrong(f"'{where}{field}' must be an object", param=f"{where}{field}")
    return value


def schema(value: object, *, param: str) -> Mapping[str, Any]:
    """Return a JSON Schema, which is an object that is not nested without bounds."""
    if not isinstance(value, dict):
        raise wrong("a JSON Schema must be an object", param=param)
    level: list[object] = [value]
    for _ in range(DEEPEST):
        level = [part for whole in level for part in _parts(whole)]
        if not level:
            return value
    raise wrong(f"a schema may be nested {DEEPEST} levels deep", param=param)


def _parts(value: object) -> Iterable[object]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def word(body: Mapping[str, Any], field: str, *, where: str = "") -> str:
    """Return a field that is a text and not empty."""
    value = body.get(field)
    if not isinstance(value, str) or not value:
        raise wrong(f"'{where}{field}' must be a text", param=f"{where}{field}")
    return value


def texts(body: Mapping[str, Any], field: str) -> tuple[str | tuple[int, ...], ...]:
    """Return a field that is a text, texts, token numbers, or lists of token numbers."""
    value = body.get(field)
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list) and value:
        if all(isinstance(item, str) for item in value):
            return tuple(value)
        if are_tokens(value):
            return (tuple(value),)
        if all(isinstance(item, list) and item and are_tokens(item) for item in value):
            return tuple(tuple(item) for item in value)
    raise wrong(f"'{field}' must be text, a list of texts, or token numbers", param=field)


def are_tokens(items: Sequence[object]) -> bool:
    """Return whether these can be token numbers."""
    return all(isinstance(item, int) and not isinstance(item, bool) and item >= 0 for item in items)


def biases(body: Mapping[str, Any]) -> tuple[tuple[int, float], ...]:
    """Return what `logit_bias` adds to which token."""
    told = member(body, "logit_bias") or {}
    read = []
    for token, bias in told.items():
        if not token.isascii() or not token.isdigit():
            raise wrong(f"'logit_bias' goes by token number, not {token!r}", param="logit_bias")
        if not _is_number(bias) or not -100 <= bias <= 100:
            raise wrong(f"a bias must be a number from -100 to 100, not {bias!r}", param="logit_bias")
        read.append((int(token), float(bias)))
    return tuple(read)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)

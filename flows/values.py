"""Values of declared types: what a flow input or a literal becomes before a node sees it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

TYPES = frozenset({"int", "double", "bool", "string", "list", "object", "image", "secret", "prompt_template",
                   "file_path", "assistant_definition"})  # fmt: skip


def convert(value: Any, kind: str) -> Any:
    """Return `value` as the flow type `kind`; raises ValueError saying what it is instead.

    >>> convert("3", "int"), convert("true", "bool"), convert('{"a": 1}', "object")
    (3, True, {'a': 1})
    """
    try:
        return _CONVERSIONS.get(kind, _as_is)(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{value!r} is no {kind}") from error


def _bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.casefold() in ("true", "false"):
        return value.casefold() == "true"
    raise ValueError(value)


def _list(value: Any) -> list[Any]:
    parsed = json.loads(value) if isinstance(value, str) else value
    if not isinstance(parsed, list):
        raise TypeError(value)
    return parsed


def _object(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def _as_is(value: Any) -> Any:
    return value


_CONVERSIONS: dict[str, Callable[[Any], Any]] = {
    "int": int,
    "double": float,
    "float": float,
    "bool": _bool,
    "string": str,
    "list": _list,
    "object": _object,
}

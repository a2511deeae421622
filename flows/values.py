"""Values of declared types: what a flow input or a literal becomes before a node sees it."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Callable
from typing import Any

TYPES = frozenset({"int", "double", "bool", "string", "list", "object", "image", "secret", "prompt_template",
                   "file_path", "assistant_definition"})  # fmt: skip
_WRONG = (TypeError, ValueError, OverflowError, RecursionError)


def convert(value: Any, kind: str) -> Any:
    """Return `value` as the flow type `kind`; raises ValueError saying what it is instead.

    Types without a conversion of their own, and unknown ones, leave the value as it is. None is a value like others:
    no `int`, and as a `string` the text "None".

    >>> convert("3", "int"), convert("true", "bool"), convert('{"a": 1}', "object")
    (3, True, {'a': 1})
    """
    take = _CONVERSIONS.get(kind)
    if take is None:
        return value
    try:
        return take(value)
    except _WRONG as error:
        raise ValueError(f"{_SHORT.repr(value)} is no {kind}") from error


def converter(kind: str) -> Callable[[Any], Any] | None:
    """Return the bare conversion to a type, for those who convert often; None where values stay as they are.

    It raises any of TypeError, ValueError, OverflowError and RecursionError: `convert` says it in words.
    """
    return _CONVERSIONS.get(kind)


def _bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
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
    except (ValueError, RecursionError):
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
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 200

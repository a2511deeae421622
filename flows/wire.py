"""A flow as JSON, from the process that read it to the one that runs it: both see the same, and it is read once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from flows.flow import MISSING, Activate, Each, Flow, Input, Missing, Node, Output, Retry
from flows.references import Reference
from workspace.errors import Location

_TYPES: dict[str, type] = {
    each.__name__: each for each in (Activate, Each, Flow, Input, Location, Node, Output, Reference, Retry)
}


def pack(value: Any) -> Any:
    """Return a value of plain JSON that `unpack` turns into the same again.

    >>> unpack(pack(Reference("inputs", ("question",))))
    Reference(source='inputs', path=('question',))
    """
    if isinstance(value, Missing):
        return {"$": "MISSING"}
    if isinstance(value, Path):
        return {"$": "Path", "text": str(value)}
    if isinstance(value, tuple):
        return {"$": "tuple", "items": [pack(item) for item in value]}
    if is_dataclass(value) and not isinstance(value, type):
        return {"$": type(value).__name__} | {
            field.name: pack(getattr(value, field.name))
            for field in fields(value)
            if getattr(value, field.name) != field.default
        }
    if isinstance(value, Mapping):
        return {"$": "dict", "items": [[key, pack(item)] for key, item in value.items()]}
    if isinstance(value, list):
        return [pack(item) for item in value]
    return value


def unpack(value: Any) -> Any:
    """Return what was packed."""
    if isinstance(value, list):
        return [unpack(item) for item in value]
    if not isinstance(value, dict):
        return value
    kind = value["$"]
    if kind == "MISSING":
        return MISSING
    if kind == "Path":
        return Path(value["text"])
    if kind == "tuple":
        return tuple(unpack(item) for item in value["items"])
    if kind == "dict":
        return {key: unpack(item) for key, item in value["items"]}
    return _TYPES[kind](**{name: unpack(item) for name, item in value.items() if name != "$"})

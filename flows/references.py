"""References between nodes: a value that is, as a whole, `${node.output.path}` or `${inputs.name}`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

WHOLE = re.compile(r"^\$\{(.+)\}$", re.DOTALL)
STEP = re.compile(r"\.?(\w+)|\[(\d+)\]|\['([^']*)'\]|\[\"([^\"]*)\"\]")
NAME = re.compile(r"[^.\[\]{}$]+")  # of a node or an input: what stands before the first dot, such as `my-node`


@dataclass(frozen=True, slots=True)
class Reference:
    """Where a value comes from: `source` is a node, or "inputs"; `path` leads into it."""

    source: str
    path: tuple[str | int, ...]

    @property
    def is_input(self) -> bool:
        """Whether this names a flow input."""
        return self.source == "inputs"


def parse(value: object, *, item: str = "") -> Reference | None:
    """Return the reference that a whole text is, else None: text with a reference inside is a literal.

    `item` is what the node calls the item of its `map`: a path into it needs no `.output`.

    Raises ValueError with the reason where it is one and cannot be right.
    """
    if not isinstance(value, str) or not (match := WHOLE.match(value.strip())):
        return None
    source, rest = _named(match[1], match[1])
    if source in ("inputs", "flow"):
        if not rest:
            raise ValueError(f"{value} names no input")
        if not rest.startswith("."):
            return Reference("inputs", tuple(_steps(rest)))
        name, rest = _named(rest[1:], match[1])
        return Reference("inputs", (name, *_steps(rest)))
    path = _steps(rest)
    if item and source == item:
        return Reference(item, tuple(path))
    if path and path[0] != "output":
        raise ValueError(f"{value}: only `.output` of a node can be used")
    return Reference(source, tuple(path[1:]))


def follow(value: Any, path: tuple[str | int, ...]) -> Any:
    """Return what `path` leads to, by item or attribute. Raises LookupError or AttributeError."""
    for step in path:
        value = value[step] if isinstance(value, Mapping) or isinstance(step, int) else getattr(value, step)
    return value


def _named(text: str, whole: str) -> tuple[str, str]:
    """Return the name that a text begins with, and what is left."""
    match = NAME.match(text)
    if match is None:
        raise ValueError(f"${{{whole}}} cannot be read")
    return match[0], text[match.end() :]


def _steps(text: str) -> list[str | int]:
    steps: list[str | int] = []
    position = 0
    while position < len(text):
        match = STEP.match(text, position)
        if match is None:
            raise ValueError(f"${{{text}}} cannot be read")
        word, index, single, double = match.groups()
        steps.append(
            int(index) if index is not None else next(part for part in (word, single, double) if part is not None)
        )
        position = match.end()
    return steps

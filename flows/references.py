"""References between nodes: a value that is, as a whole, `${node.output.path}` or `${inputs.name}`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

WHOLE = re.compile(r"^\$\{(.+)\}$", re.DOTALL)
STEP = re.compile(r"\.?(\w+)|\[(\d+)\]|\['([^']*)'\]|\[\"([^\"]*)\"\]")


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
    source, *path = _steps(match[1])
    if source in ("inputs", "flow"):
        if len(path) < 1:
            raise ValueError(f"{value} names no input")
        return Reference("inputs", tuple(path))
    if item and source == item:
        return Reference(item, tuple(path))
    if path and path[0] != "output":
        raise ValueError(f"{value}: only `.output` of a node can be used")
    return Reference(str(source), tuple(path[1:]))


def follow(value: Any, path: tuple[str | int, ...]) -> Any:
    """Return what `path` leads to, by item or attribute. Raises LookupError or AttributeError."""
    for step in path:
        value = value[step] if isinstance(value, Mapping) or isinstance(step, int) else getattr(value, step)
    return value


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

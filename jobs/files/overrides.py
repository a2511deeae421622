"""`--set a.b=c`: values that are put into a file before it is read."""

from __future__ import annotations

import copy
import itertools
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from workspace.documents import Document, parse_yaml
from workspace.errors import Invalid

Override = tuple[str, Any]  # a dotted way and the value
_PART = re.compile(r"([^.\[\]]+)|\[(\d+)\]")


def parse(text: str) -> Override:
    """Read one `--set`: what stands after `=` is read as YAML reads it.

    >>> parse("jobs.train.limits.timeout=60")
    ('jobs.train.limits.timeout', 60)
    """
    way, equals, value = text.partition("=")
    if not equals or not way.strip():
        raise Invalid(f"--set {text!r} says no value", hint="write --set inputs.rate=0.1")
    found = parse_yaml(value, path=Path(f"<--set {way.strip()}>"))
    return way.strip(), value if found.root is None and value.strip() not in ("null", "~") else found.root


def apply(document: Document, overrides: tuple[Override, ...]) -> Document:
    """Return the document with values set; what is on the way and not there yet is made."""
    if not overrides:
        return document
    root = copy.deepcopy(document.root)
    for way, value in overrides:
        _set(root, way, value)
    return replace(document, root=root)


def _set(root: Any, way: str, value: Any) -> None:
    steps = _steps(way)
    place = root
    for step, following in itertools.pairwise(steps):
        inside = _get(place, step)
        if isinstance(inside, str):
            hint = "set the whole of it, or change the file that it names"
            raise Invalid(f"--set {way}: {step!r} is the reference {inside!r}, which holds nothing to set", hint=hint)
        if not isinstance(inside, dict | list):
            inside = [] if isinstance(following, int) else {}
            _put(place, step, inside, way)
        place = inside
    _put(place, steps[-1], value, way)


def _steps(way: str) -> list[str | int]:
    found = [int(index) if index else name for name, index in _PART.findall(way)]
    if not found or not isinstance(found[0], str):
        raise Invalid(f"--set {way!r} names no key", hint="write --set inputs.rate=0.1")
    return found


def _get(place: Any, step: str | int) -> Any:
    if isinstance(place, dict):
        return place.get(step)
    index = _index(step)
    return place[index] if isinstance(place, list) and index is not None and index < len(place) else None


def _put(place: Any, step: str | int, value: Any, way: str) -> None:
    if isinstance(place, dict):
        place[step] = value
        return
    index = _index(step)
    if index is None or index > len(place):
        raise Invalid(f"--set {way}: a list has no {step!r}", hint=f"it has {len(place)} items, from 0")
    place[index : index + 1] = [value]


def _index(step: str | int) -> int | None:
    return int(step) if isinstance(step, int) or step.isdecimal() else None

"""Values of YAML as Azure ML CLI v2 understands them: enums in any case, numbers where text is meant, `--set`."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from workspace.documents import Document, Step, parse_yaml, read_yaml, told_of_placeholders
from workspace.errors import Invalid, did_you_mean

Made = TypeVar("Made")


def read(path: Path, changes: Mapping[str, str]) -> Document:
    """Read a file whose root is a mapping, and set values in it: `{"tags.team": "blue"}` as `--set tags.team=blue`."""
    try:
        document = read_yaml(path)
    except Invalid as error:
        raise told_of_placeholders(path, error) from None
    if not isinstance(document.root, dict):
        raise Invalid("the file must be a mapping of keys", at=document.at())
    return changed(document, changes)


def read_as(path: Path, changes: Mapping[str, str], make: Callable[[Document], Made]) -> Made:
    """Read a file and make a record of it; of a file whose placeholders nobody has filled in, an error says so."""
    document = read(path, changes)
    try:
        return make(document)
    except Invalid as error:
        raise told_of_placeholders(path, error) from None


def changed(document: Document, changes: Mapping[str, str]) -> Document:
    """Return the document with values set by their dotted path; each is read as YAML reads it."""
    root = copy.deepcopy(document.root)
    for dotted, text in changes.items():
        *parents, last = dotted.split(".")
        place = root
        for step in parents:
            if not isinstance(place.get(step), dict):
                place[step] = {}
            place = place[step]
        place[last] = parse_yaml(text, path=Path(f"<--set {dotted}>")).root
    return replace(document, root=root)


def text(document: Document, *steps: Step, default: str = "") -> str:
    """Return a text; numbers and truths are written as Azure's tools write them: `1`, `True`."""
    value = document.get(*steps)
    if value is None:
        return default
    if isinstance(value, dict | list):
        raise Invalid(f"`{_dotted(steps)}` must be a text", at=document.at(*steps))
    return str(value)


def required(document: Document, *steps: Step) -> str:
    """Return a text that must be there."""
    found = text(document, *steps)
    if not found.strip():
        raise Invalid(f"`{_dotted(steps)}` is needed", at=document.at(*steps))
    return found


def choice(document: Document, known: Iterable[str], *steps: Step, default: str = "") -> str:
    """Return one of some words, written in any case."""
    found = text(document, *steps, default=default)
    words = {word.lower(): word for word in known}
    if found.lower() not in words and found != default:
        hint = did_you_mean(found, words.values())
        raise Invalid(f"`{_dotted(steps)}` cannot be {found!r}", hint=hint, at=document.at(*steps))
    return words.get(found.lower(), found)


def whole(document: Document, *steps: Step, least: int = 0) -> int | None:
    """Return a whole number, or None where there is none."""
    value = document.get(*steps)
    if isinstance(value, str) and re.fullmatch(r"[+-]?\d+", value.strip()):
        value = int(value)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise Invalid(
            f"`{_dotted(steps)}` must be a whole number of at least {least}, not {value!r}", at=document.at(*steps)
        )
    return value


def number(document: Document, *steps: Step, least: float = 0.0, most: float = float("inf")) -> float | None:
    """Return a number, or None where there is none."""
    value = document.get(*steps)
    if isinstance(value, str):
        value = _number(value)
    if value is None and document.get(*steps) is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        limits = f"from {least:g} to {most:g}" if most < float("inf") else f"of at least {least:g}"
        raise Invalid(f"`{_dotted(steps)}` must be a number {limits}", at=document.at(*steps))
    return float(value)


def flag(document: Document, *steps: Step, default: bool = False) -> bool:
    """Return true or false, also where it is written as text."""
    value = document.get(*steps)
    if value is None:
        return default
    if str(value).lower() not in ("true", "false"):
        raise Invalid(f"`{_dotted(steps)}` must be true or false, not {value!r}", at=document.at(*steps))
    return str(value).lower() == "true"


def mapping(document: Document, *steps: Step) -> dict[str, Any]:
    """Return a mapping whose keys the author chooses, empty where there is none."""
    value = document.get(*steps)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Invalid(f"`{_dotted(steps)}` must be a mapping", at=document.at(*steps))
    return {str(key): each for key, each in value.items()}


def texts(document: Document, *steps: Step) -> dict[str, str]:
    """Return a mapping of texts: tags, properties, environment variables."""
    return {key: text(document, *steps, key) for key in _keys(document, *steps)}


def shares(document: Document, *steps: Step) -> dict[str, float]:
    """Return percentages by name."""
    return {key: number(document, *steps, key, least=0, most=100) or 0.0 for key in _keys(document, *steps)}


def _keys(document: Document, *steps: Step) -> list[Any]:
    mapping(document, *steps)
    return list(document.get(*steps) or {})


def _number(value: str) -> float | None:
    try:
        return float(value)
    except ValueError:
        return None


def _dotted(steps: tuple[Step, ...]) -> str:
    return ".".join(map(str, steps))

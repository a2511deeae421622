"""A rollout's plan as YAML, read once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from serving import yaml_values
from serving.rollouts.guards import MARGINS
from serving.rollouts.records import Plan, Quality
from workspace.documents import Document, Step
from workspace.errors import Invalid, StudioloError

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd]?)")


def read(path: Path, *, changes: Mapping[str, str] | None = None) -> Plan:
    """Read a plan, or raise Invalid with `file:line:column`.

    `guards` is a mapping of margins, or a list of names that keep theirs; `bake` a number of seconds or "10m".
    """
    document = yaml_values.read(path, changes or {})
    document.refuse_unknown(("$schema", *(field.name for field in fields(Plan))))
    for key in ("endpoint", "deployment"):
        if not document.get(key):
            raise Invalid(f"`{key}` is missing", at=document.at(), hint=f"{key}: NAME")
    quality = _quality(document)
    given: dict[str, Any] = {
        "endpoint": yaml_values.text(document, "endpoint"),
        "deployment": yaml_values.text(document, "deployment"),
        "guards": _guards(document, quality),
        "quality": quality,
    }
    if document.get("steps") is not None:
        given["steps"] = tuple(_number(document, "steps", index) for index in range(len(document.get("steps"))))
    if document.get("bake") is not None:
        given["bake"] = seconds(yaml_values.text(document, "bake"), document, "bake")
    for name in ("requests", "alpha"):
        if document.get(name) is not None:
            given[name] = _number(document, name)
    try:
        return Plan(**given)
    except StudioloError as error:
        raise Invalid(error.message, hint=error.hint, at=document.at()) from None


def seconds(text: str, document: Document, *steps: Step) -> float:
    """Return how long "10m", "90s" or "600" is."""
    found = _SPAN.fullmatch(text.strip())
    if not found:
        raise Invalid(f"{text!r} is no span of time", hint="as 90s, 10m, 2h", at=document.at(*steps))
    return float(found[1]) * _UNITS[found[2] or "s"]


def _guards(document: Document, quality: Quality | None) -> dict[str, float]:
    given = document.get("guards")
    if given is None:
        return {name: margin for name, margin in MARGINS.items() if name != "quality" or quality}
    if isinstance(given, list):
        given = dict.fromkeys(map(str, given))
    if not isinstance(given, dict):
        raise Invalid("`guards` names guards and their margins", hint="errors: 0.02", at=document.at("guards"))
    for name in given:
        if name not in MARGINS:
            raise Invalid(f"no guard {name!r}", hint=f"one of {', '.join(MARGINS)}", at=document.at("guards", name))
    found: dict[str, float] = {
        str(name): MARGINS[name] if margin is None else float(_number(document, "guards", name))
        for name, margin in given.items()
    }
    if quality:
        found.setdefault("quality", MARGINS["quality"])
    return found


def _quality(document: Document) -> Quality | None:
    given = document.get("quality")
    if given is None:
        return None
    if not isinstance(given, dict):
        raise Invalid("`quality` says how answers are scored", hint="scorer: judge", at=document.at("quality"))
    document.refuse_unknown([field.name for field in fields(Quality)], "quality")
    found: dict[str, Any] = {
        name: yaml_values.text(document, "quality", name) for name in ("scorer", "model", "rubric") if given.get(name)
    }
    found |= {name: _number(document, "quality", name) for name in ("sample", "scores") if given.get(name) is not None}
    return Quality(**found)


def _number(document: Document, *steps: Step) -> Any:
    value = document.get(*steps)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Invalid(f"`{'.'.join(map(str, steps))}` must be a number, not {value!r}", at=document.at(*steps))
    return value

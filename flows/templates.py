"""Prompt templates: Jinja in a sandbox that sees plain values and can neither load, change nor import anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import TemplateError, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

LONGEST = 1_000_000  # characters of a rendered prompt

_ENVIRONMENT = ImmutableSandboxedEnvironment(trim_blocks=True, keep_trailing_newline=True, undefined=Undefined)
_ENVIRONMENT.globals.clear()  # no `range(10**9)`, no `lipsum`, nothing but the values given


def render(source: str, values: Mapping[str, Any]) -> str:
    """Return the template filled with `values`; unknown names are empty. Raises ValueError with the reason."""
    try:
        text = "".join(_bounded(_ENVIRONMENT.from_string(source).generate(values)))
    except (TemplateError, TypeError, ArithmeticError, LookupError, MemoryError, RecursionError) as error:
        raise ValueError(f"the template cannot be rendered: {error}") from error
    return text


def _bounded(pieces: Any) -> Any:
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > LONGEST:
            raise ValueError(f"the rendered prompt is longer than {LONGEST:,} characters")
        yield piece

"""Fields of a JSON body, each of its type or refused by its name: `text(body, "model", where="model")`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from serving.openai_errors import Refusal


def wrong(message: str, where: str, *, code: str = "invalid_value") -> Refusal:
    """Return the refusal of a body that cannot be right, naming the field at fault."""
    return Refusal(400, message, code=code, param=where)


def unsupported(what: str, where: str) -> Refusal:
    """Return the refusal of something that is known, but not done here."""
    return wrong(f"{what} is not supported here", where, code="unsupported_parameter")


def required(value: object, where: str) -> object:
    """Return what is there, or refuse its absence."""
    if value is None:
        raise wrong(f"{where!r} is missing", where, code="missing_required_parameter")
    return value


def text(value: object, where: str) -> str:
    """Return a text."""
    if not isinstance(value, str):
        raise wrong(f"{where!r} must be text", where)
    return value


def needed_text(record: Mapping[str, Any], name: str, where: str) -> str:
    """Return a text that must be there."""
    return text(required(record.get(name), where), where)


def member(value: object, where: str, known: Iterable[str]) -> str:
    """Return a text that is one of the known ones."""
    names = tuple(known)
    if not isinstance(value, str) or value not in names:
        raise wrong(f"{where!r} must be one of {', '.join(names)}", where)
    return value


def flag(value: object, where: str) -> bool:
    """Return true or false."""
    if not isinstance(value, bool):
        raise wrong(f"{where!r} must be true or false", where)
    return value


def whole(value: object, where: str, least: int, most: int | None = None) -> int:
    """Return a whole number in its bounds."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least or (most is not None and value > most):
        span = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise wrong(f"{where!r} must be a whole number {span}", where)
    return value


def number(value: object, where: str, least: float, most: float) -> float:
    """Return a number in its bounds."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise wrong(f"{where!r} must be a number from {least:g} to {most:g}", where)
    return value


def record(value: object, where: str) -> dict[str, Any]:
    """Return an object."""
    if not isinstance(value, dict):
        raise wrong(f"{where!r} must be an object", where)
    return value


def several(value: object, where: str) -> list[Any]:
    """Return a list."""
    if not isinstance(value, list):
        raise wrong(f"{where!r} must be a list", where)
    return value


def refuse(body: Mapping[str, Any], neutral: Mapping[str, tuple[object, ...]]) -> None:
    """Refuse each field named in `neutral` whose value is none of those that ask for nothing."""
    for name, values in neutral.items():
        value = body.get(name)
        if value is not None and not any(value == each and type(value) is type(each) for each in values):
            raise unsupported(f"{name!r}", name)

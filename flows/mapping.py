"""From a row of data to the inputs of a flow: the column mapping, then defaults, then columns of the same name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from flows.flow import MISSING, Flow
from flows.values import convert
from workspace.errors import Invalid, did_you_mean

COLUMN = re.compile(r"^\$\{(data|run\.inputs|run\.outputs)\.(.+)\}$")


def check(flow: Flow, mapping: Mapping[str, str]) -> None:
    """Raise Invalid for a mapping that names no input of the flow, or that is all literals."""
    for name in mapping:
        if name not in flow.inputs:
            raise Invalid(f"the flow has no input {name!r}", hint=did_you_mean(name, flow.inputs))
    if mapping and not any(COLUMN.match(str(value)) for value in mapping.values()):
        raise Invalid("the column mapping names no column", hint="write name='${data.column}'")


def inputs_of(flow: Flow, sources: Mapping[str, Mapping[str, Any]], mapping: Mapping[str, str]) -> dict[str, Any]:
    """Return the inputs of one line from its sources ("data", "run.outputs"); raises ValueError with the reason."""
    found: dict[str, Any] = {}
    for name, declared in flow.inputs.items():
        if name in mapping:
            found[name] = _mapped(sources, mapping[name])
        elif declared.default is not MISSING:
            found[name] = declared.default
        elif name in sources["data"]:
            found[name] = sources["data"][name]
        else:
            raise ValueError(f"input {name!r} has no value: neither mapped, nor a default, nor a column of that name")
    return converted(flow, found)


def converted(flow: Flow, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return inputs in their declared types, defaults filled in; raises ValueError for what is missing or wrong."""
    found = {}
    for name, declared in flow.inputs.items():
        if name in given:
            try:
                found[name] = convert(given[name], declared.type)
            except ValueError as error:
                raise ValueError(f"input {name!r}: {error}") from None
        elif declared.default is not MISSING:
            found[name] = declared.default
        else:
            raise ValueError(f"input {name!r} is missing")
    return found


def _mapped(sources: Mapping[str, Mapping[str, Any]], value: str) -> Any:
    if not isinstance(value, str) or not (match := COLUMN.match(value)):
        return value
    source, column = sources.get(match[1], {}), match[2]
    if column in source:
        return source[column]
    current: Any = source
    for step in column.split("."):
        if not isinstance(current, Mapping) or step not in current:
            raise ValueError(f"{value}: the row has no column {column!r}")
        current = current[step]
    return current

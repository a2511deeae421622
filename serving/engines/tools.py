"""Functions that a model may call: what is offered, and whether it must call one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from serving.engines.fields import flag, member, schema, unsupported, word, wrong

MOST_TOOLS = 128
NO_PARAMETERS: Mapping[str, Any] = {"type": "object", "properties": {}, "additionalProperties": False}
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A function; `parameters` is the JSON Schema of its arguments, and `strict` asks for them to obey it."""

    name: str
    description: str | None
    parameters: Mapping[str, Any]
    strict: bool
    place: int  # in the request's list: what is wrong with it is told by that


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """The functions a model may call in one answer; `must` where it may not answer otherwise."""

    tools: tuple[Tool, ...] = ()
    must: bool = False
    most: int = 1  # calls in one answer
    names: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", frozenset(tool.name for tool in self.tools))


MOST_CALLS = 16
NOTHING = Offer()


def read_offer(body: Mapping[str, Any]) -> Offer:
    """Read `tools`, `tool_choice` and `parallel_tool_calls`; functions that may not be called are not offered."""
    tools = _tools(body.get("tools"))
    most = MOST_CALLS if flag(body, "parallel_tool_calls", default=True) else 1
    choice = body.get("tool_choice")
    if choice in (None, "auto"):
        return Offer(tools=tools, most=most)
    if choice == "none":
        return NOTHING
    if not tools:
        raise wrong("'tool_choice' needs 'tools'", param="tool_choice")
    if choice == "required":
        return Offer(tools=tools, must=True, most=most)
    if isinstance(choice, dict) and choice.get("type") == "function":
        function = member(choice, "function", where="tool_choice.") or {}
        name = word(function, "name", where="tool_choice.function.")
        return Offer(tools=_named(tools, [name]), must=True)
    if isinstance(choice, dict) and choice.get("type") == "allowed_tools":
        return _allowed(tools, member(choice, "allowed_tools", where="tool_choice.") or {}, most)
    raise wrong("'tool_choice' must be 'none', 'auto', 'required', or name a function", param="tool_choice")


def _tools(told: object) -> tuple[Tool, ...]:
    if told is None:
        return ()
    if not isinstance(told, list) or len(told) > MOST_TOOLS:
        raise wrong(f"'tools' must be a list of at most {MOST_TOOLS} functions", param="tools")
    tools = tuple(_tool(tool, index) for index, tool in enumerate(told))
    if len({tool.name for tool in tools}) < len(tools):
        raise wrong("two functions have the same name", param="tools")
    return tools


def _tool(tool: object, place: int) -> Tool:
    where = f"tools.{place}"
    if not isinstance(tool, dict):
        raise wrong(f"'{where}' must be an object", param=where)
    if tool.get("type") != "function":
        told = f"a tool of type {tool.get('type')!r} is not supported, only 'function'"
        raise unsupported(told, param=f"{where}.type")
    function = member(tool, "function", where=f"{where}.") or {}
    name = word(function, "name", where=f"{where}.function.")
    if not _NAME.fullmatch(name):
        raise wrong(
            f"a function's name has up to 64 letters, digits, '_', '-' and '.', not {name!r}",
            param=f"{where}.function.name",
        )
    description = function.get("description")
    if description is not None and not isinstance(description, str):
        raise wrong("'description' must be a text", param=f"{where}.function.description")
    parameters = function.get("parameters")
    return Tool(
        name=name,
        description=description,
        parameters=schema(parameters, param=f"{where}.function.parameters") if parameters else NO_PARAMETERS,
        strict=flag(function, "strict", where=f"{where}.function."),
        place=place,
    )


def _named(tools: tuple[Tool, ...], names: list[str]) -> tuple[Tool, ...]:
    known = {tool.name: tool for tool in tools}
    for name in names:
        if name not in known:
            raise wrong(f"no function {name!r} in 'tools'; known: {', '.join(known)}", param="tool_choice")
    return tuple(known[name] for name in names)


def _allowed(tools: tuple[Tool, ...], allowed: Mapping[str, Any], most: int) -> Offer:
    mode, entries = allowed.get("mode"), allowed.get("tools")
    if mode not in ("auto", "required") or not isinstance(entries, list) or not entries:
        raise wrong("'allowed_tools' needs 'mode' ('auto' or 'required') and 'tools'", param="tool_choice")
    names = [_name_in(entry) for entry in entries]
    return Offer(tools=_named(tools, names), must=mode == "required", most=most)


def _name_in(entry: object) -> str:
    function = entry.get("function") if isinstance(entry, dict) else None
    return word(function if isinstance(function, dict) else {}, "name", where="tool_choice.")

"""Messages of a training conversation, read into records or refused by the turn at fault.

More lenient than the gateway: a call's arguments may be an object, and a call needs no id.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from catalog.chat_templates import Call, Message
from workspace.errors import Invalid, did_you_mean

ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool"}
# What ShareGPT's files say.
_SPEAKERS = {"human": "user", "gpt": "assistant", "function_call": "assistant", "observation": "tool"}


def read(value: Any, field: str = "messages") -> tuple[tuple[Message, ...], frozenset[int]]:
    """Return messages, and which of them have weight 0: they are read, not learnt."""
    given = _json(value, field)
    if not isinstance(given, Sequence) or isinstance(given, str) or not len(given):
        raise Invalid(f"{field!r} must be a list of messages, not {_named(given)}")
    messages = tuple(_message(each, number) for number, each in enumerate(given, 1))
    return messages, frozenset(place for place, each in enumerate(given) if each.get("weight") == 0)


def tools(value: Any) -> tuple[Mapping[str, Any], ...]:
    """Return functions as OpenAI's clients tell them; they may stand there as JSON text."""
    given = _json(value, "tools")
    if given is None or given == "":
        return ()
    if not isinstance(given, Sequence) or isinstance(given, str):
        raise Invalid(f"'tools' must be a list of functions, not {_named(given)}")
    return tuple(_tool(each, number) for number, each in enumerate(given, 1))


def check_order(messages: Sequence[Message], muted: frozenset[int] = frozenset(), *, answered: bool = True) -> None:
    """Raise Invalid where turns stand in no order that a model could meet, or an answer is empty."""
    before = None
    for number, message in enumerate(messages, 1):
        if message.role == "system" and number > 1:
            raise Invalid(f"turn {number} is the system's: that is the first turn or none")
        if message.role == "assistant" and (before is None or before.role in ("system", "assistant")):
            after = "nothing" if before is None else f"the {before.role}'s turn"
            raise Invalid(f"turn {number} is the assistant's and follows {after}: somebody must ask first")
        if message.role == "tool" and (before is None or not (before.calls or before.role == "tool")):
            raise Invalid(f"turn {number} answers a call, but the turn before calls nothing")
        if message.role == "assistant" and not (message.text.strip() or message.calls) and number - 1 not in muted:
            raise Invalid(f"turn {number}: the assistant's answer is empty")
        before = message
    if answered and not any(message.role == "assistant" for message in messages):
        raise Invalid("no turn is the assistant's: there is nothing to learn")


def _message(value: Any, number: int) -> Message:
    if not isinstance(value, Mapping):
        raise Invalid(f"turn {number} must be an object with 'role' and 'content', not {_named(value)}")
    if "role" not in value and "from" in value:
        said = value["from"]
        value = {"role": _SPEAKERS.get(said, said), "content": value.get("value")}
    role = value.get("role")
    if role not in ROLES:
        hint = did_you_mean(str(role), ROLES) if role else f"known: {', '.join(ROLES)}"
        raise Invalid(f"turn {number}: role {role!r} is not known", hint=hint)
    if value.get("function_call"):
        raise Invalid(f"turn {number}: 'function_call' is an old form", hint="use 'tool_calls'")
    calls = _calls(value.get("tool_calls"), number) if role == "assistant" else ()
    content = value.get("content")
    if content is None and role != "assistant":
        raise Invalid(f"turn {number}: the {role}'s 'content' is missing")
    answers = value.get("tool_call_id")
    return Message(ROLES[role], _text(content, number), calls, answers if isinstance(answers, str) else None)


def _text(content: Any, number: int) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, Sequence):
        raise Invalid(f"turn {number}: 'content' must be text, not {_named(content)}")
    parts = []
    for part in content:
        if not isinstance(part, Mapping) or part.get("type") not in ("text", "refusal"):
            kind = part.get("type") if isinstance(part, Mapping) else _named(part)
            raise Invalid(f"turn {number}: a part of type {kind!r} cannot be trained on, only text")
        parts.append(str(part[part["type"]]))
    return "".join(parts)


def _calls(value: Any, number: int) -> tuple[Call, ...]:
    given = _json(value, "tool_calls")
    if given is None or given == "":
        return ()
    if not isinstance(given, Sequence) or isinstance(given, str):
        raise Invalid(f"turn {number}: 'tool_calls' must be a list, not {_named(given)}")
    return tuple(_call(each, number, place) for place, each in enumerate(given, 1))


def _call(value: Any, number: int, place: int) -> Call:
    function = value.get("function", value) if isinstance(value, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise Invalid(f"turn {number}: call {place} needs a function's 'name' and 'arguments'")
    arguments = function.get("arguments", {})
    if isinstance(arguments, str):
        try:
            parsed = json.loads(arguments)
        except (ValueError, RecursionError):
            parsed = None
    else:
        parsed, arguments = arguments, json.dumps(arguments, ensure_ascii=False, default=str)
    if not isinstance(parsed, Mapping):
        raise Invalid(f"turn {number}: the arguments of {function['name']!r} are no JSON object: {arguments[:40]!r}")
    return Call(str(value.get("id") or f"call_{place}"), function["name"], arguments)


def _tool(value: Any, number: int) -> Mapping[str, Any]:
    function = value.get("function", value) if isinstance(value, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise Invalid(f"tool {number} needs a function's 'name'")
    parameters = _json(function.get("parameters"), "parameters") or {
        "type": "object", "properties": {}, "additionalProperties": False,
    }  # fmt: skip
    told = {"name": function["name"], "description": function.get("description") or "", "parameters": parameters}
    return {"type": "function", "function": told}


def _json(value: Any, field: str) -> Any:
    """Return what a cell of a table holds as JSON text, and anything else as it is."""
    if not isinstance(value, str) or not value.strip():
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise Invalid(f"{field!r} holds text that is no JSON: {value[:40]!r}") from None


def _named(value: Any) -> str:
    kinds = {list: "a list", str: "a text", bool: "a truth value", type(None): "nothing", dict: "an object"}
    if isinstance(value, list | tuple) and not value:
        return "an empty list"
    return kinds.get(type(value), "a number")

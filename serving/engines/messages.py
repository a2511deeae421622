"""The messages of a conversation, read once into frozen records or refused by the name of the field at fault."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from catalog.chat_templates import Call, Message
from serving.engines.fields import unsupported, word, wrong

ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool"}


def read_messages(body: Mapping[str, Any]) -> tuple[Message, ...]:
    """Read the field `messages`."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise wrong("'messages' must be a list with at least one message", param="messages")
    return tuple(_message(message, f"messages.{index}") for index, message in enumerate(messages))


def _message(message: object, where: str) -> Message:
    if not isinstance(message, dict):
        raise wrong(f"'{where}' must be an object with 'role' and 'content'", param=where)
    role = message.get("role")
    if role not in ROLES:
        raise wrong(f"role {role!r} is not one of {', '.join(ROLES)}", param=f"{where}.role")
    if role != "assistant":
        answers = word(message, "tool_call_id", where=f"{where}.") if role == "tool" else None
        return Message(ROLES[role], _content(message.get("content"), f"{where}.content"), answers=answers)
    if message.get("function_call") or message.get("audio"):
        field = "function_call" if message.get("function_call") else "audio"
        raise unsupported(f"{field!r} is not supported by this engine", param=f"{where}.{field}")
    content = message.get("content")
    text = "" if content is None else _content(content, f"{where}.content")
    return Message(role, text or message.get("refusal") or "", _calls(message, where))


def _calls(message: Mapping[str, Any], where: str) -> tuple[Call, ...]:
    calls = message.get("tool_calls") or []
    if not isinstance(calls, list):
        raise wrong("'tool_calls' must be a list", param=f"{where}.tool_calls")
    return tuple(_call(call, f"{where}.tool_calls.{index}") for index, call in enumerate(calls))


def _call(call: object, where: str) -> Call:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(call, dict) or not isinstance(function, dict):
        raise wrong(f"'{where}' must be an object with 'id' and 'function'", param=where)
    arguments = function.get("arguments")
    if not isinstance(arguments, str) or not _is_object(arguments):
        raise wrong("the arguments of a call are the text of a JSON object", param=f"{where}.function.arguments")
    return Call(word(call, "id", where=f"{where}."), word(function, "name", where=f"{where}.function."), arguments)


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _content(content: object, where: str) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise wrong(f"'{where}' must be text or a list of parts", param=where)
    texts = []
    for index, part in enumerate(content):
        kind = part.get("type") if isinstance(part, dict) else None
        if kind not in ("text", "refusal"):
            raise wrong(f"content of type {kind!r} is not supported, only 'text'", param=f"{where}.{index}.type")
        if not isinstance(part.get(kind), str):
            raise wrong(f"a {kind} part needs {kind!r}", param=f"{where}.{index}.{kind}")
        texts.append(part[kind])
    return "".join(texts)

"""The items of responses (messages, calls, their outputs) and the chat messages that say the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from serving.api import fields
from serving.api.fields import unsupported

_ROLES = ("user", "assistant", "system", "developer")
_STATUSES = ("in_progress", "completed", "incomplete")


def read_items(value: object, own: str) -> list[dict[str, Any]]:
    """Return the input as items, each with an id: its own, or one made of `own` and its place."""
    if isinstance(value, str):
        value = [{"role": "user", "content": value}]
    items = fields.several(value, "input")
    if not items:
        raise fields.wrong("'input' is empty", "input")
    return [
        _item(fields.record(each, f"input.{index}"), f"input.{index}", own, index) for index, each in enumerate(items)
    ]


def chat_messages(items: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the items as chat messages; a text and the calls after it are one message of the assistant."""
    messages: list[dict[str, Any]] = []
    for item in items:
        if item["type"] == "message":
            messages.append({"role": item["role"], "content": _chat_content(item["content"])})
        elif item["type"] == "function_call":
            if not messages or messages[-1]["role"] != "assistant":
                messages.append({"role": "assistant", "content": None})
            function = {"name": item["name"], "arguments": item["arguments"]}
            call = {"id": item["call_id"], "type": "function", "function": function}
            messages[-1].setdefault("tool_calls", []).append(call)
        elif item["type"] == "function_call_output":
            output = item["output"]
            content = output if isinstance(output, str) else _chat_content(output)
            messages.append({"role": "tool", "tool_call_id": item["call_id"], "content": content})
    return messages


def _item(item: Mapping[str, Any], where: str, own: str, index: int) -> dict[str, Any]:
    kind = item.get("type") or ("message" if "role" in item else "item_reference")
    status = fields.member(item.get("status") or "completed", f"{where}.status", _STATUSES)

    def named(prefix: str) -> str:
        given = item.get("id")
        return f"{prefix}_{own}{index:04x}" if given is None else fields.text(given, f"{where}.id")

    def text(name: str) -> str:
        return fields.needed_text(item, name, f"{where}.{name}")

    if kind == "message":
        role = fields.member(item.get("role"), f"{where}.role", _ROLES)
        content = _content(item.get("content"), role, f"{where}.content")
        return {"id": named("msg"), "type": kind, "role": role, "status": status, "content": content}
    if kind == "function_call":
        said = {"call_id": text("call_id"), "name": text("name"), "arguments": text("arguments")}
        return {"id": named("fc"), "type": kind, "status": status, **said}
    if kind == "function_call_output":
        output = fields.required(item.get("output"), f"{where}.output")
        said_back = output if isinstance(output, str) else _content(output, "user", f"{where}.output")
        return {"id": named("fco"), "type": kind, "status": status, "call_id": text("call_id"), "output": said_back}
    if kind == "reasoning":  # it may come back with the answer it led to; a chat has no place for it
        summary = fields.several(item.get("summary") or [], f"{where}.summary")
        return {"id": named("rs"), "type": kind, "summary": summary}
    raise unsupported(f"an item of type {kind!r}", f"{where}.type")


def _content(value: object, role: str, where: str) -> list[dict[str, Any]]:
    kind = "output_text" if role == "assistant" else "input_text"
    if isinstance(value, str):
        value = [{"type": kind, "text": value}]
    parts = fields.several(fields.required(value, where), where)
    return [
        _part(fields.record(each, f"{where}.{index}"), kind, f"{where}.{index}") for index, each in enumerate(parts)
    ]


def _part(part: Mapping[str, Any], kind: str, where: str) -> dict[str, Any]:
    given = part.get("type")
    if given in ("input_text", "output_text", "text"):
        text = fields.needed_text(part, "text", f"{where}.text")
        return {"type": kind, "text": text} | ({"annotations": [], "logprobs": []} if kind == "output_text" else {})
    if given == "refusal" and kind == "output_text":
        return {"type": given, "refusal": fields.text(part.get("refusal"), f"{where}.refusal")}
    if given == "input_image" and kind == "input_text" and isinstance(part.get("image_url"), str):
        return {"type": given, "image_url": part["image_url"], "detail": part.get("detail") or "auto"}
    raise unsupported(f"content of type {given!r}", f"{where}.type")


def _chat_content(parts: Sequence[Mapping[str, Any]]) -> Any:
    """Return content as chat messages have it: text where it is text alone."""
    if all(part["type"] != "input_image" for part in parts):
        return "".join(part.get("text") or part.get("refusal") or "" for part in parts)
    return [
        {"type": "image_url", "image_url": {"url": part["image_url"], "detail": part["detail"]}}
        if part["type"] == "input_image"
        else {"type": "text", "text": part["text"]}
        for part in parts
    ]

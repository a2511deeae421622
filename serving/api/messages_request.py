"""The body of Anthropic's /v1/messages, read once, and the chat that it is to an engine."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from serving.api import fields
from serving.api.fields import unsupported, wrong

# Fields that ask for what is not done here, each with the values that ask for nothing.
_NEUTRAL: Mapping[str, tuple[object, ...]] = {
    "container": (),
    "context_management": (),
    "inference_geo": (),
    "mcp_servers": ([],),
    "service_tier": ("auto", "standard_only"),
    "speed": ("standard",),
    "thinking": ({"type": "disabled"},),
    "top_k": (),
}


def to_chat(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the engine's request, or refuse the body by the name of the field at fault."""
    fields.refuse(body, _NEUTRAL)
    most = fields.whole(fields.required(body.get("max_tokens"), "max_tokens"), "max_tokens", 1)
    chat = {**to_counted(body), "max_completion_tokens": most}
    for name, high in (("temperature", 1), ("top_p", 1)):
        if (value := body.get(name)) is not None:
            chat[name] = fields.number(value, name, 0, high)
    if (stops := body.get("stop_sequences")) is not None:
        chat["stop"] = [fields.text(each, "stop_sequences") for each in fields.several(stops, "stop_sequences")]
    if (user := _record(body, "metadata").get("user_id")) is not None:
        chat["user"] = fields.text(user, "metadata.user_id")
    chat |= _format(_record(body, "output_config"))
    if (stream := body.get("stream")) is not None and fields.flag(stream, "stream"):
        chat |= {"stream": True, "stream_options": {"include_usage": True}}
    return chat


def to_counted(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of the engine's request its tokens are counted of."""
    name = fields.needed_text(body, "model", "model")
    turns = fields.several(fields.required(body.get("messages"), "messages"), "messages")
    if not turns:
        raise wrong("'messages' is empty", "messages")
    messages = [message for index, turn in enumerate(turns) for message in _turn(turn, f"messages.{index}")]
    if messages and messages[-1]["role"] == "assistant":
        raise unsupported("beginning the answer for the model (a last message of the assistant)", "messages")
    if (system := body.get("system")) is not None:
        messages.insert(0, {"role": "system", "content": _text(system, "system")})
    return {"model": name, "messages": messages, **_tools(body)}


def _turn(turn: object, where: str) -> list[dict[str, Any]]:
    given = fields.record(turn, where)
    role = fields.member(given.get("role"), f"{where}.role", ("user", "assistant"))
    content = fields.required(given.get("content"), f"{where}.content")
    if isinstance(content, str):
        return [{"role": role, "content": content}]
    blocks = [
        (fields.record(block, f"{where}.content.{index}"), f"{where}.content.{index}")
        for index, block in enumerate(fields.several(content, f"{where}.content"))
    ]
    return _assistant(blocks) if role == "assistant" else _user(blocks)


def _user(blocks: list[tuple[dict[str, Any], str]]) -> list[dict[str, Any]]:
    """Return the results of calls, each a message of its own, then what the person says."""
    results: list[dict[str, Any]] = []
    texts: list[str] = []
    for block, where in blocks:
        kind = block.get("type")
        if kind == "tool_result":
            name = fields.text(
                fields.required(block.get("tool_use_id"), f"{where}.tool_use_id"), f"{where}.tool_use_id"
            )
            said = _text(block.get("content") or "", f"{where}.content")
            content = f"error: {said}" if block.get("is_error") is True else said
            results.append({"role": "tool", "tool_call_id": name, "content": content})
        elif kind == "text":
            texts.append(_text([block], where))
        else:
            raise unsupported(f"content of type {kind!r}", f"{where}.type")
    return results + ([{"role": "user", "content": "".join(texts)}] if texts or not results else [])


def _assistant(blocks: list[tuple[dict[str, Any], str]]) -> list[dict[str, Any]]:
    texts: list[str] = []
    calls: list[dict[str, Any]] = []
    for block, where in blocks:
        kind = block.get("type")
        if kind == "tool_use":
            name = fields.needed_text(block, "name", f"{where}.name")
            call = fields.needed_text(block, "id", f"{where}.id")
            arguments = json.dumps(fields.record(block.get("input") or {}, f"{where}.input"))
            calls.append({"id": call, "type": "function", "function": {"name": name, "arguments": arguments}})
        elif kind == "text":
            texts.append(_text([block], where))
        elif kind not in ("thinking", "redacted_thinking"):  # a chat has no place for thoughts of before
            raise unsupported(f"content of type {kind!r}", f"{where}.type")
    message: dict[str, Any] = {"role": "assistant", "content": "".join(texts) if texts or not calls else None}
    return [message | ({"tool_calls": calls} if calls else {})]


def _text(content: object, where: str) -> str:
    """Return a text, or blocks of text as one."""
    if isinstance(content, str):
        return content
    texts = []
    for index, each in enumerate(fields.several(content, where)):
        block = fields.record(each, f"{where}.{index}")
        if block.get("type") != "text":
            raise unsupported(f"content of type {block.get('type')!r}", f"{where}.{index}.type")
        texts.append(fields.needed_text(block, "text", f"{where}.text"))
    return "".join(texts)


def _tools(body: Mapping[str, Any]) -> dict[str, Any]:
    given = body.get("tools")
    tools = [
        _tool(tool, f"tools.{place}")
        for place, tool in enumerate([] if given is None else fields.several(given, "tools"))
    ]
    choice = _record(body, "tool_choice")
    if not choice:
        return {"tools": tools} if tools else {}
    kind = fields.member(choice.get("type"), "tool_choice.type", ("auto", "any", "tool", "none"))
    if not tools:
        if kind in ("any", "tool"):
            raise wrong("a call is required, but there are no tools", "tool_choice")
        return {}
    chat: dict[str, Any] = {"tools": tools, "tool_choice": {"any": "required"}.get(kind, kind)}
    if kind == "tool":
        known = [tool["function"]["name"] for tool in tools]
        name = fields.member(choice.get("name"), "tool_choice.name", known)
        chat["tool_choice"] = {"type": "function", "function": {"name": name}}
    if (alone := choice.get("disable_parallel_tool_use")) is not None:
        chat["parallel_tool_calls"] = not fields.flag(alone, "tool_choice.disable_parallel_tool_use")
    return chat


def _tool(tool: object, where: str) -> dict[str, Any]:
    given = fields.record(tool, where)
    if given.get("type", "custom") not in ("custom", None):
        raise unsupported(f"a tool of type {given.get('type')!r}", f"{where}.type")
    function: dict[str, Any] = {
        "name": fields.needed_text(given, "name", f"{where}.name"),
        "parameters": fields.record(fields.required(given.get("input_schema"), f"{where}.input_schema"), where),
    }
    if (about := given.get("description")) is not None:
        function["description"] = fields.text(about, f"{where}.description")
    if (strict := given.get("strict")) is not None:
        function["strict"] = fields.flag(strict, f"{where}.strict")
    return {"type": "function", "function": function}


def _format(output: Mapping[str, Any]) -> dict[str, Any]:
    if output.get("effort") is not None:
        raise unsupported("an effort", "output_config.effort")
    form = output.get("format")
    if form is None:
        return {}
    given = fields.record(form, "output_config.format")
    fields.member(given.get("type"), "output_config.format.type", ("json_schema",))
    where = "output_config.format.schema"
    schema = {
        "name": "output",
        "schema": fields.record(fields.required(given.get("schema"), where), where),
        "strict": True,
    }
    return {"response_format": {"type": "json_schema", "json_schema": schema}}


def _record(body: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = body.get(name)
    return {} if value is None else fields.record(value, name)

"""The body of /v1/responses, read once, and the chat that it is to an engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from serving.api import fields
from serving.api.fields import unsupported, wrong
from serving.api.response_items import chat_messages, read_items

# Fields that ask for what is not done here, each with the values that ask for nothing.
_NEUTRAL: Mapping[str, tuple[object, ...]] = {
    "access_programs": (),
    "background": (False,),
    "background_options": (),
    "context_management": ([],),
    "conversation": (),
    "image": (),
    "max_tool_calls": (),
    "moderation": (),
    "prompt": (),
    "service_tier": ("auto", "default"),
}
_LOGPROBS = "message.output_text.logprobs"
_INCLUDABLE = (_LOGPROBS, "reasoning.encrypted_content")  # the latter: there is none, which is honoured easily
_MOST_METADATA = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What a response is asked to be: the chat's own fields, the items it answers, and what is told again in it."""

    model: str
    items: Sequence[Mapping[str, Any]]
    instructions: str | None
    previous: str | None
    store: bool
    stream: bool
    truncates: bool  # what the model cannot read may be left out
    chat: Mapping[str, Any]  # what goes to the engine beside the messages
    echo: Mapping[str, Any] = field(default_factory=dict)  # what the response repeats of its request

    @property
    def room(self) -> int:
        """The tokens that an answer may need."""
        return int(self.chat.get("max_completion_tokens") or 1)

    def to_chat(self, before: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return the engine's request, with the items of the conversation so far before its own."""
        messages = chat_messages([*before, *self.items])
        if self.instructions:
            messages.insert(0, {"role": "system", "content": self.instructions})
        request = {"model": self.model, "messages": messages, **self.chat}
        return {**request, "stream": True, "stream_options": {"include_usage": True}} if self.stream else request


def read(body: Mapping[str, Any], *, own: str) -> Ask:
    """Read the body, or refuse it by the name of the field; `own` makes the ids of its items."""
    fields.refuse(body, _NEUTRAL)
    tools = _tools(body.get("tools"))
    choice, tools_asked = _choice(body.get("tool_choice"), tools)
    chat = _chat(body) | ({"tools": [_chat_tool(tool) for tool in tools_asked]} if tools_asked else {})
    if tools_asked and choice != "auto":
        chat["tool_choice"] = choice
    if tools_asked and (parallel := body.get("parallel_tool_calls")) is not None:
        chat["parallel_tool_calls"] = fields.flag(parallel, "parallel_tool_calls")
    instructions = body.get("instructions")
    previous = body.get("previous_response_id")
    store, stream = body.get("store"), body.get("stream")
    truncation = fields.member(body.get("truncation") or "disabled", "truncation", ("auto", "disabled"))
    return Ask(
        model=fields.needed_text(body, "model", "model"),
        items=read_items(fields.required(body.get("input"), "input"), own),
        instructions=None if instructions is None else fields.text(instructions, "instructions"),
        previous=None if previous is None else fields.text(previous, "previous_response_id"),
        store=True if store is None else fields.flag(store, "store"),
        stream=False if stream is None else fields.flag(stream, "stream"),
        truncates=truncation == "auto",
        chat=chat,
        echo=_echo(body, tools),
    )


def _chat(body: Mapping[str, Any]) -> dict[str, Any]:
    chat: dict[str, Any] = {}
    for name, low, high in (
        ("temperature", 0, 2),
        ("top_p", 0, 1),
        ("presence_penalty", -2, 2),
        ("frequency_penalty", -2, 2),
    ):
        if (value := body.get(name)) is not None:
            chat[name] = fields.number(value, name, low, high)
    if (most := body.get("max_output_tokens")) is not None:
        chat["max_completion_tokens"] = fields.whole(most, "max_output_tokens", 1)
    if (user := body.get("safety_identifier") or body.get("user")) is not None:
        chat["user"] = fields.text(user, "user")
    if effort := _record(body, "reasoning").get("effort"):
        chat["reasoning_effort"] = fields.text(effort, "reasoning.effort")
    if _record(body, "reasoning").get("summary") is not None:
        raise unsupported("a summary of reasoning", "reasoning.summary")
    if _record(body, "stream_options").get("include_obfuscation"):
        raise unsupported("obfuscation", "stream_options.include_obfuscation")
    return chat | _logprobs(body) | _format(_record(body, "text"))


def _logprobs(body: Mapping[str, Any]) -> dict[str, Any]:
    top = body.get("top_logprobs")
    top = 0 if top is None else fields.whole(top, "top_logprobs", 0, 20)
    included = body.get("include")
    names = [] if included is None else fields.several(included, "include")
    for index, name in enumerate(names):
        if name not in _INCLUDABLE:
            raise unsupported(f"including {name!r}", f"include.{index}")
    if top or _LOGPROBS in names:
        return {"logprobs": True, "top_logprobs": top}
    return {}


def _format(text: Mapping[str, Any]) -> dict[str, Any]:
    if text.get("verbosity") not in (None, "medium"):
        raise unsupported("verbosity", "text.verbosity")
    form = _record(text, "format", "text.format")
    kind = fields.member(form.get("type", "text"), "text.format.type", ("text", "json_object", "json_schema"))
    if kind == "json_schema":
        schema = fields.record(fields.required(form.get("schema"), "text.format.schema"), "text.format.schema")
        name = fields.needed_text(form, "name", "text.format.name")
        kept = {key: form[key] for key in ("description", "strict") if form.get(key) is not None}
        return {"response_format": {"type": kind, "json_schema": {"name": name, "schema": schema, **kept}}}
    return {"response_format": {"type": kind}} if kind == "json_object" else {}


def _tools(value: object) -> list[dict[str, Any]]:
    tools = [] if value is None else fields.several(value, "tools")
    read = []
    for index, each in enumerate(tools):
        where = f"tools.{index}"
        tool = fields.record(each, where)
        if tool.get("type") != "function":
            raise unsupported(f"a tool of type {tool.get('type')!r}", f"{where}.type")
        name = fields.needed_text(tool, "name", f"{where}.name")
        parameters, strict, about = tool.get("parameters"), tool.get("strict"), tool.get("description")
        read.append(
            {
                "type": "function",
                "name": name,
                "description": None if about is None else fields.text(about, f"{where}.description"),
                "parameters": None if parameters is None else fields.record(parameters, f"{where}.parameters"),
                "strict": None if strict is None else fields.flag(strict, f"{where}.strict"),
            }
        )
    return read


def _chat_tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "function", "function": {key: tool[key] for key in tool if key != "type" and tool[key] is not None}}


def _choice(value: object, tools: list[dict[str, Any]]) -> tuple[Any, list[dict[str, Any]]]:
    """Return the chat's tool_choice and the tools that may be used."""
    if value is None:
        return "auto", tools
    if isinstance(value, str):
        mode = fields.member(value, "tool_choice", ("auto", "none", "required"))
        return _possible(mode, tools), tools
    choice = fields.record(value, "tool_choice")
    known = {tool["name"] for tool in tools}
    if choice.get("type") == "function":
        name = fields.member(choice.get("name"), "tool_choice.name", known)
        return {"type": "function", "function": {"name": name}}, tools
    if choice.get("type") == "allowed_tools":
        mode = fields.member(choice.get("mode", "auto"), "tool_choice.mode", ("auto", "required"))
        allowed = [
            fields.member(fields.record(each, "tool_choice.tools").get("name"), "tool_choice.tools", known)
            for each in fields.several(choice.get("tools"), "tool_choice.tools")
        ]
        usable = [tool for tool in tools if tool["name"] in allowed]
        return _possible(mode, usable), usable
    raise unsupported(f"a choice of type {choice.get('type')!r}", "tool_choice.type")


def _possible(mode: str, tools: list[dict[str, Any]]) -> str:
    if mode == "required" and not tools:
        raise wrong("a call is required, but there are no tools", "tool_choice")
    return mode


def _echo(body: Mapping[str, Any], tools: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the fields that a response repeats, where nothing was said as the API's own defaults."""
    metadata = _record(body, "metadata")
    if len(metadata) > _MOST_METADATA or not all(isinstance(value, str) for value in metadata.values()):
        raise wrong(f"'metadata' may have {_MOST_METADATA} keys at most, each with a text", "metadata")
    text = _record(body, "text")
    form = _record(text, "format", "text.format") or {"type": "text"}
    told = {
        "temperature": 1.0,
        "top_p": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "top_logprobs": 0,
        "max_output_tokens": None,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "reasoning": None,
        "user": None,
        "safety_identifier": None,
        "prompt_cache_key": None,
        "store": True,
        "truncation": "disabled",
    }
    fixed = {"background": False, "service_tier": "default", "max_tool_calls": None}
    given = {name: body[name] for name in told if body.get(name) is not None}
    return {**told, **given, **fixed, "metadata": metadata, "tools": tools, "text": {**text, "format": form}}


def _record(body: Mapping[str, Any], name: str, where: str | None = None) -> dict[str, Any]:
    value = body.get(name)
    return {} if value is None else fields.record(value, where or name)

"""A conversation as the text a model was trained to continue, functions and their calls included.

What serves a model and what trains it render here, so that both see the same text. Functions are told by the model's
own chat template where that knows them and marks calls by <tool_call>. For any other model this is the convention: the
system message lists the functions; a call is `<tool_call>`, a JSON object with "name" and "arguments" and
`</tool_call>`, on lines of their own; the user tells what a function returned in <tool_response>.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from jinja2 import Environment, TemplateError, meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from workspace.errors import Invalid

OPENING, CLOSING = "<tool_call>", "</tool_call>"
TOLD = """You can call functions. These are the functions, one JSON object a line:
<tools>
{tools}
</tools>

To call a function, answer with its name and arguments as a JSON object between these tags, once for each call:
<tool_call>
{{"name": "the function's name", "arguments": {{"an argument": "its value"}}}}
</tool_call>"""


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a function: its arguments are JSON text, as the model wrote it."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Message:
    """One message; an assistant's may call functions, a tool's answers the call `answers`."""

    role: str
    text: str
    calls: tuple[Call, ...] = ()
    answers: str | None = None


class ChatTemplate:
    """How one model's conversations are written."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._knows_tools = _knows_tools(tokenizer)
        self.end: str = tokenizer.eos_token or ""
        self.special: tuple[str, ...] = tuple(tokenizer.all_special_tokens)

    @cached_property
    def always_prompts(self) -> bool:
        """Whether the template begins an answer even where it is not asked to."""
        asked = [Message("user", "x")]
        try:
            return self.render(asked) == self.render(asked, prompted=False)
        except Invalid:
            return False  # it wants more than a question, and says so where it is given more

    def render(
        self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] = (), *, prompted: bool = True
    ) -> str:
        """Return the text to be continued; it ends with the beginning of an answer if `prompted`.

        Tools are told as OpenAI's clients tell them. Raises Invalid where the model has no template, or it refuses.
        """
        if not self._tokenizer.chat_template:
            raise Invalid(
                "this model has no chat template", hint="it goes on with texts: rows of `text`, or completions"
            )
        own = self._knows_tools
        told = [_whole(message) for message in messages] if own else _by_convention(messages, tools)
        try:
            text: str = self._tokenizer.apply_chat_template(
                told, tools=[*tools] if own and tools else None, add_generation_prompt=prompted, tokenize=False
            )
        except (TemplateError, TypeError, ValueError) as error:
            raise Invalid(f"the model's chat template refuses this: {error}") from error
        return text


def _knows_tools(tokenizer: Any) -> bool:
    if not tokenizer.chat_template:
        return False
    template: str = tokenizer.get_chat_template(tools=[{}])
    parser: Environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", "jinja2.ext.do"]
    )
    try:
        names = meta.find_undeclared_variables(parser.parse(template))
    except TemplateError:
        return False  # with tags of transformers' own; rendering will tell
    return "tools" in names and OPENING in template


def _whole(message: Message) -> dict[str, Any]:
    told: dict[str, Any] = {"role": message.role, "content": message.text}
    if message.calls:
        calls = [{"id": call.id, "type": "function", "function": _called(call)} for call in message.calls]
        told["tool_calls"] = calls
    if message.answers is not None:
        told["tool_call_id"] = message.answers
    return told


def _by_convention(messages: Sequence[Message], tools: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = []
    answered = False  # the message before was a function's answer: they share one message of the user
    for message in messages:
        if message.role == "tool":
            text = f"<tool_response>\n{message.text}\n</tool_response>"
            if answered:
                told[-1]["content"] += f"\n{text}"
            else:
                told.append({"role": "user", "content": text})
        else:
            told.append({"role": message.role, "content": conventional(message)})
        answered = message.role == "tool"
    if not tools:
        return told
    text = TOLD.format(tools="\n".join(json.dumps(tool, ensure_ascii=False) for tool in tools))
    if told and told[0]["role"] == "system":
        return [{"role": "system", "content": f"{told[0]['content']}\n\n{text}"}, *told[1:]]
    return [{"role": "system", "content": text}, *told]


def conventional(message: Message) -> str:
    """Return what an assistant says, and its calls in the convention's words."""
    parts = [message.text, *(_written(call) for call in message.calls)]
    return "\n".join(part for part in parts if part)


def _written(call: Call) -> str:
    return f"{OPENING}\n{json.dumps(_called(call), ensure_ascii=False)}\n{CLOSING}"


def _called(call: Call) -> dict[str, Any]:
    return {"name": call.name, "arguments": json.loads(call.arguments)}

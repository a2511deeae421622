"""A request's conversation as text: the catalog renders it, and what is wrong names the field `messages`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from catalog.chat_templates import ChatTemplate, Message
from serving.engines.fields import wrong
from serving.engines.tools import Offer, Tool
from workspace.errors import Invalid


class Template:
    """How one model's conversations are written."""

    def __init__(self, tokenizer: Any) -> None:
        self._has_one = bool(tokenizer.chat_template)
        self._template = ChatTemplate(tokenizer)

    def render(self, messages: Sequence[Message], offer: Offer, *, prompted: bool = True) -> str:
        """Return the text to be continued; it ends with the beginning of an answer if `prompted`."""
        if not self._has_one:
            raise wrong("this model has no chat template; use /v1/completions", param="messages")
        try:
            return self._template.render(messages, [_described(tool) for tool in offer.tools], prompted=prompted)
        except Invalid as error:
            raise wrong(error.message, param="messages") from error


def _described(tool: Tool) -> dict[str, Any]:
    function = {"name": tool.name, "description": tool.description or "", "parameters": dict(tool.parameters)}
    return {"type": "function", "function": function}

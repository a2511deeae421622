"""The JSON an engine answers with, as OpenAI writes it: whole answers, chunks of them, and their usage."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from catalog.chat_templates import Call
from serving.engines.tool_calls import Begun, Piece, Said


@dataclass(frozen=True, slots=True)
class Finished:
    """One whole answer."""

    text: str
    reason: str
    calls: tuple[Call, ...] = ()
    logprobs: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """The head that all chunks of one reply share, and how its parts are written."""

    kind: Literal["chat", "text"]
    model: str
    fingerprint: str
    include_usage: bool = False
    id: str = field(default_factory=lambda: secrets.token_hex(12))
    created: int = field(default_factory=lambda: int(time.time()))

    def first(self, index: int) -> bytes | None:
        """Return the chunk that opens an answer, which in a chat tells its role."""
        return self._chunk(index, {"role": "assistant", "content": ""}) if self.kind == "chat" else None

    def more(self, index: int, piece: Piece, logprobs: dict[str, Any] | None = None) -> bytes:
        """Return the chunk with the next piece of an answer: text, a call's beginning, or more of its arguments."""
        if isinstance(piece, Said):
            if self.kind == "text":
                return self._text(index, piece.text, None, logprobs)
            return self._chunk(index, {"content": piece.text}, None, logprobs)
        if isinstance(piece, Begun):
            function = {"name": piece.name, "arguments": ""}
            call = {"index": piece.call, "id": piece.id, "type": "function", "function": function}
        else:
            call = {"index": piece.call, "function": {"arguments": piece.text}}
        return self._chunk(index, {"tool_calls": [call]}, None, logprobs)

    def last(self, index: int, reason: str, logprobs: dict[str, Any] | None = None) -> bytes:
        """Return the chunk that ends an answer with the reason."""
        if self.kind == "text":
            return self._text(index, "", reason, logprobs)
        return self._chunk(index, {}, reason, logprobs)

    def usage(self, used: dict[str, Any]) -> bytes:
        """Return the chunk without choices that tells the usage."""
        return event({**self._head(chunk=True), "choices": [], "usage": used})

    def whole(self, answers: Sequence[Finished], used: dict[str, Any]) -> dict[str, Any]:
        """Return the body of a reply that is not streamed."""
        choices = [self._choice(index, answer) for index, answer in enumerate(answers)]
        return {**self._head(chunk=False), "choices": choices, "usage": used}

    def _choice(self, index: int, answer: Finished) -> dict[str, Any]:
        ending = {"logprobs": answer.logprobs, "finish_reason": answer.reason}
        if self.kind == "text":
            return {"index": index, "text": answer.text, **ending}
        message: dict[str, Any] = {"role": "assistant", "content": answer.text, "refusal": None}
        if answer.calls:
            message["content"] = answer.text or None
            message["tool_calls"] = [_written(call) for call in answer.calls]
        return {"index": index, "message": message, **ending}

    def _head(self, *, chunk: bool) -> dict[str, Any]:
        prefix = "chatcmpl" if self.kind == "chat" else "cmpl"
        name = "text_completion" if self.kind == "text" else "chat.completion.chunk" if chunk else "chat.completion"
        return {
            "id": f"{prefix}-{self.id}",
            "object": name,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.fingerprint,
        }

    def _chunk(
        self, index: int, delta: dict[str, Any], reason: str | None = None, logprobs: dict[str, Any] | None = None
    ) -> bytes:
        return self._piece({"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": reason})

    def _text(self, index: int, text: str, reason: str | None, logprobs: dict[str, Any] | None) -> bytes:
        return self._piece({"index": index, "text": text, "logprobs": logprobs, "finish_reason": reason})

    def _piece(self, choice: dict[str, Any]) -> bytes:
        usage = {"usage": None} if self.include_usage else {}
        return event({**self._head(chunk=True), "choices": [choice], **usage})


DONE = b"data: [DONE]\n\n"


def event(body: dict[str, Any]) -> bytes:
    """Return one server-sent event: `event({"a": 1}) == b'data: {"a":1}\\n\\n'`."""
    return f"data: {json.dumps(body, ensure_ascii=False, separators=(',', ':'))}\n\n".encode()


def usage(prompt: int, completion: int, cached: int = 0) -> dict[str, Any]:
    """Return the token counts of a reply; `cached` are those of the prompt that did not have to be read."""
    counts = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    return {**counts, "prompt_tokens_details": {"cached_tokens": cached}}


def _written(call: Call) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}

"""The JSON an engine answers with, as OpenAI writes it: whole answers, chunks of them, and their usage."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Finished:
    """One whole answer."""

    text: str
    reason: str


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
        return self._chunk(index, {"role": "assistant", "content": ""}, None) if self.kind == "chat" else None

    def more(self, index: int, text: str) -> bytes:
        """Return the chunk with the next piece of text."""
        return self._chunk(index, {"content": text}, None) if self.kind == "chat" else self._text(index, text, None)

    def last(self, index: int, reason: str) -> bytes:
        """Return the chunk that ends an answer with the reason."""
        return self._chunk(index, {}, reason) if self.kind == "chat" else self._text(index, "", reason)

    def usage(self, used: dict[str, int]) -> bytes:
        """Return the chunk without choices that tells the usage."""
        return event({**self._head(chunk=True), "choices": [], "usage": used})

    def whole(self, answers: Sequence[Finished], used: dict[str, int]) -> dict[str, Any]:
        """Return the body of a reply that is not streamed."""
        choices = [self._choice(index, answer) for index, answer in enumerate(answers)]
        return {**self._head(chunk=False), "choices": choices, "usage": used}

    def _choice(self, index: int, answer: Finished) -> dict[str, Any]:
        if self.kind == "text":
            return {"index": index, "text": answer.text, "logprobs": None, "finish_reason": answer.reason}
        message = {"role": "assistant", "content": answer.text, "refusal": None}
        return {"index": index, "message": message, "logprobs": None, "finish_reason": answer.reason}

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

    def _chunk(self, index: int, delta: dict[str, str], reason: str | None) -> bytes:
        return self._piece({"index": index, "delta": delta, "logprobs": None, "finish_reason": reason})

    def _text(self, index: int, text: str, reason: str | None) -> bytes:
        return self._piece({"index": index, "text": text, "logprobs": None, "finish_reason": reason})

    def _piece(self, choice: dict[str, Any]) -> bytes:
        usage = {"usage": None} if self.include_usage else {}
        return event({**self._head(chunk=True), "choices": [choice], **usage})


DONE = b"data: [DONE]\n\n"


def event(body: dict[str, Any]) -> bytes:
    """Return one server-sent event: `event({"a": 1}) == b'data: {"a":1}\\n\\n'`."""
    return f"data: {json.dumps(body, ensure_ascii=False, separators=(',', ':'))}\n\n".encode()


def usage(prompt: int, completion: int) -> dict[str, int]:
    """Return the token counts of a reply."""
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}

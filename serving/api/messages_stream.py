"""A streamed chat told as a message of Anthropic's: block after block, then why it ended and how much it was."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from serving.api import sse
from serving.api.anthropic_errors import error_of
from serving.api.chunks import Chunks, Closed, More, Opened, Step

Event = dict[str, Any]

_REASONS = {"length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}


class MessageStream:
    """One message on its way. `begin`, `feed` each chunk, `end` (or `fail`); `message` is what has come of it."""

    def __init__(self, identifier: str, model: str, stops: Sequence[str] = ()) -> None:
        self.settled = False
        self._chunks = Chunks()
        self._stops = stops
        self._pieces: list[str] = []  # of the open block
        self.message: dict[str, Any] = {
            "id": identifier,
            "type": "message",
            "role": "assistant",
            "model": model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": 0, "output_tokens": 0},
        }

    def begin(self) -> list[Event]:
        """Return the event that says that it is being made; the tokens read are known at its end."""
        return [{"type": "message_start", "message": {**self.message, "content": []}}]

    def feed(self, chunk: Mapping[str, Any]) -> list[Event]:
        """Return the events of one chunk of the chat."""
        return list(self._told(self._chunks.feed(chunk)))

    def end(self) -> list[Event]:
        """Return the events that end it; a chat that gave no reason for its end was cut off."""
        if self._chunks.reason is None:
            return self.fail("the engine's answer ended in the middle")
        events = list(self._told(self._chunks.end()))
        self.settled = True
        stop = self._chunks.stop if self._chunks.stop in self._stops else None
        told = {"stop_reason": "stop_sequence" if stop else _REASONS.get(self._chunks.reason, "end_turn")}
        ended = {**told, "stop_sequence": stop}
        self.message |= {**ended, "usage": usage(self._chunks.usage)}
        delta = {"type": "message_delta", "delta": ended, "usage": self.message["usage"]}
        return [*events, delta, {"type": "message_stop"}]

    def fail(self, message: str) -> list[Event]:
        """Return the event that says that it failed."""
        self.settled = True
        return [error_of(500, message)]

    def whole(self, chat: Mapping[str, Any]) -> dict[str, Any]:
        """Return the message for a chat that was answered at once."""
        self.feed(chat)
        self.end()
        if self.message["stop_reason"] is None:
            raise ValueError("the chat has no answer")
        return self.message

    def render(self, events: Iterable[Event]) -> bytes:
        """Return the events as they go over the wire."""
        return b"".join(sse.event(event["type"], event) for event in events)

    def _told(self, steps: Iterable[Step]) -> Iterator[Event]:
        blocks = self.message["content"]
        for step in steps:
            if isinstance(step, Opened):
                call = {"type": "tool_use", "id": step.call, "name": step.name, "input": {}}
                blocks.append(call if step.kind == "call" else {"type": "text", "text": ""})
                self._pieces = []
                yield {"type": "content_block_start", "index": len(blocks) - 1, "content_block": {**blocks[-1]}}
            elif isinstance(step, More) and step.text:
                self._pieces.append(step.text)
                call_piece = {"type": "input_json_delta", "partial_json": step.text}
                text_piece = {"type": "text_delta", "text": step.text}
                delta = call_piece if blocks[-1]["type"] == "tool_use" else text_piece
                yield {"type": "content_block_delta", "index": len(blocks) - 1, "delta": delta}
            elif isinstance(step, Closed):
                _settle(blocks[-1], "".join(self._pieces))
                yield {"type": "content_block_stop", "index": len(blocks) - 1}


def usage(counts: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return a chat's token counts as a message tells them: what came from the cache is told apart."""
    read, written = (int((counts or {}).get(name) or 0) for name in ("prompt_tokens", "completion_tokens"))
    cached = int(((counts or {}).get("prompt_tokens_details") or {}).get("cached_tokens") or 0)
    told = {"cache_creation_input_tokens": 0, "cache_read_input_tokens": cached}
    return {"input_tokens": read - cached, "output_tokens": written, **told}


def _settle(block: dict[str, Any], said: str) -> None:
    if block["type"] == "text":
        block["text"] = said
        return
    try:
        block["input"] = json.loads(said or "{}")
    except (ValueError, RecursionError):  # the answer was cut off in the middle of a call
        block["input"] = {}

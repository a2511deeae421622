"""Chats that a scripted engine tells, whole or streamed in any pieces."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

if TYPE_CHECKING:
    from tests.serving.conftest import Script, Wire

USED = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}
CALLS = [
    {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"town": "Oslo"}'}},
    {"id": "call_2", "type": "function", "function": {"name": "weather", "arguments": '{"town": "Rome"}'}},
]


def chat(text: str | None, *, calls: Sequence[dict[str, Any]] = (), reason: str | None = None) -> dict[str, Any]:
    """Return a chat completion."""
    message = {"role": "assistant", "content": text} | ({"tool_calls": list(calls)} if calls else {})
    choice = {"index": 0, "message": message, "finish_reason": reason or ("tool_calls" if calls else "stop")}
    return {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": USED}


def chunk(delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
    """Return a piece of a streamed chat."""
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


def chunks_of(told: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a chat completion in pieces, each text of two letters at most."""
    message, reason = told["choices"][0]["message"], told["choices"][0]["finish_reason"]
    found = [chunk({"role": "assistant", "content": ""})]
    found += [chunk({"content": piece}) for piece in _cut(message["content"] or "")]
    for place, call in enumerate(message.get("tool_calls", ())):
        head = {"index": place, **call, "function": {"name": call["function"]["name"], "arguments": ""}}
        found.append(chunk({"tool_calls": [head]}))
        pieces = _cut(call["function"]["arguments"])
        found += [chunk({"tool_calls": [{"index": place, "function": {"arguments": piece}}]}) for piece in pieces]
    return [*found, chunk({}, reason), {**chunk({}), "choices": [], "usage": told["usage"]}]


def telling(told: dict[str, Any]) -> Script:
    """Return the script of an engine that answers with this chat, streamed where that is asked for."""

    async def script(wire: Wire) -> None:
        if not wire.request.get("stream"):
            await wire.json(told)
            return
        await wire.stream()
        for each in chunks_of(told):
            await wire.event(each)
        await wire.event("[DONE]")
        await wire.send(b"0\r\n\r\n")

    return script


@st.composite
def as_chunks(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Draw a chat, cut into chunks anywhere, the pieces of its calls mixed."""
    text = draw(st.text(max_size=30))
    values = st.dictionaries(st.text(max_size=5), st.text(max_size=10) | st.integers(), max_size=3)
    arguments = [json.dumps(each) for each in draw(st.lists(values, max_size=3))]
    waiting = []
    for place, each in enumerate(arguments):
        head = {"index": place, "id": f"call_{place}", "type": "function", "function": {"name": "f", "arguments": ""}}
        rest = [{"index": place, "function": {"arguments": piece}} for piece in _pieces(draw, each)]
        waiting.append([head, *rest])
    found = [chunk({"role": "assistant", "content": ""})]
    found += [chunk({"content": piece}) for piece in _pieces(draw, text)]
    begun = 0
    while any(waiting):
        # A call begins after the one before it; its pieces may come between those of others.
        able = [place for place, pieces in enumerate(waiting) if pieces and place <= begun]
        place = draw(st.sampled_from(able))
        begun = max(begun, place + 1)
        found.append(chunk({"tool_calls": [waiting[place].pop(0)]}))
    reason = "tool_calls" if arguments else "stop"
    return [*found, chunk({}, reason), {**chunk({}), "choices": [], "usage": USED}]


def texts(chunks: list[dict[str, Any]]) -> tuple[str, list[str]]:
    """Return the text of chunks, and the arguments of each call in them."""
    text, calls = "", dict[int, str]()
    for each in chunks:
        for choice in each["choices"]:
            text += choice["delta"].get("content") or ""
            for call in choice["delta"].get("tool_calls", ()):
                calls[call["index"]] = calls.get(call["index"], "") + call["function"].get("arguments", "")
    return text, [calls[place] for place in sorted(calls)]


def _cut(text: str) -> list[str]:
    return [text[start : start + 2] for start in range(0, len(text), 2)]


def _pieces(draw: st.DrawFn, text: str) -> list[str]:
    pieces = []
    while text:
        size = draw(st.integers(1, max(1, len(text))))
        pieces.append(text[:size])
        text = text[size:]
    return pieces

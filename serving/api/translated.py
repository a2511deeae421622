"""An engine's chat on its way to a client of another API: what `forward` sends is caught and sent on translated."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Protocol

from starlette.types import Message, Send

from serving.api import sse
from serving.call import Call
from serving.openai_errors import Refusal, renamed

Settled = Callable[[], Awaitable[None]]
Whole = Callable[[Mapping[str, Any]], dict[str, Any]]
# Whatever an engine may send where a chat is expected.
BROKEN = (ValueError, TypeError, AttributeError, KeyError)


class Translator(Protocol):
    """What turns a chat into another answer, streamed or whole."""

    @property
    def settled(self) -> bool:
        """Whether the answer has ended."""

    def begin(self) -> list[dict[str, Any]]:
        """Return the events before the first chunk."""

    def feed(self, chunk: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the events of a chunk."""

    def end(self) -> list[dict[str, Any]]:
        """Return the events after the last chunk."""

    def fail(self, message: str) -> list[dict[str, Any]]:
        """Return the events that tell of a failure in the middle."""

    def whole(self, chat: Mapping[str, Any]) -> dict[str, Any]:
        """Return the answer for a chat that came at once."""

    def render(self, events: Iterable[dict[str, Any]]) -> bytes:
        """Return events as they are sent."""


class Retold:
    """A `send` that gathers an answer that comes at once and sends on what `whole` makes of it; errors pass.

    `names` are the client's names of the fields that an error may name.
    """

    def __init__(
        self,
        call: Call,
        send: Send,
        whole: Whole,
        settled: Settled | None = None,
        *,
        names: Mapping[str, str] | None = None,
    ) -> None:
        self._call = call
        self._send = send
        self._whole = whole
        self._settled = settled
        self._names = names or {}
        self._start: Message | None = None  # held until the answer's length is known
        self._parts: list[bytes] = []

    async def __call__(self, message: Message) -> None:
        """Take one of the messages of an answer, its start or a piece of its body."""
        if message["type"] == "http.response.start":
            self._start = message
            return
        assert self._start is not None  # noqa: S101  a body follows its start
        self._parts.append(message.get("body", b""))
        if not message.get("more_body"):
            status, body = await self._told(self._start["status"], b"".join(self._parts))
            names = (b"content-length", b"content-type")
            headers = [(name, value) for name, value in self._start["headers"] if name.lower() not in names]
            headers += [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
            await self._send({"type": "http.response.start", "status": status, "headers": headers})
            await self._send({"type": "http.response.body", "body": body})

    async def _told(self, status: int, body: bytes) -> tuple[int, bytes]:
        if status != 200:
            return status, renamed(body, self._names)
        try:
            told = json.dumps(self._whole(json.loads(body))).encode()
        except BROKEN:
            refusal = Refusal(502, "the engine's answer is not what was asked of it", code="engine_failed")
            self._call.status, self._call.error = refusal.status, refusal.code
            return refusal.status, refusal.body
        if self._settled:
            await self._settled()
        return status, told


class Translated:
    """A `send` that passes a chat on as the translator tells it, streamed or whole; errors pass as they are."""

    def __init__(
        self,
        call: Call,
        send: Send,
        translator: Translator,
        settled: Settled | None = None,
        *,
        names: Mapping[str, str] | None = None,
    ) -> None:
        self._call = call
        self._send = send
        self._translator = translator
        self._settled = settled
        self._whole = Retold(call, send, translator.whole, settled, names=names)
        self._streams = False
        self._lines = sse.Lines()

    async def __call__(self, message: Message) -> None:
        """Take one of the messages of an answer, its start or a piece of its body."""
        if message["type"] == "http.response.start":
            kind = dict(message["headers"]).get(b"content-type", b"")
            self._streams = message["status"] == 200 and kind.startswith(b"text/event-stream")
            if self._streams:
                await self._send(message)
                await self._say(self._translator.begin())
        elif self._streams:
            await self._piece(message.get("body", b""))
            if not message.get("more_body"):
                await self._settle(self._translator.end)
                await self._send({"type": "http.response.body", "body": b""})
            return
        if not self._streams:
            await self._whole(message)

    async def _piece(self, body: bytes) -> None:
        for name, data in self._lines.feed(body):
            if data.strip() == b"[DONE]":
                await self._settle(self._translator.end)
            elif name == "error":
                await self._fail(_message(data))
            elif not self._translator.settled:
                try:
                    events = self._translator.feed(json.loads(data))
                except BROKEN:
                    await self._fail("the engine sent something that is no chat chunk")
                else:
                    await self._say(events)

    async def _fail(self, why: str) -> None:
        self._call.error = self._call.error or "engine_failed"
        await self._settle(lambda: self._translator.fail(why))

    async def _settle(self, last: Callable[[], list[dict[str, Any]]]) -> None:
        """Send the last events, once; what they tell of is kept before."""
        if not self._translator.settled:
            events = last()
            if self._settled:
                await self._settled()
            await self._say(events)

    async def _say(self, events: list[dict[str, Any]]) -> None:
        if events:
            await self._send({"type": "http.response.body", "body": self._translator.render(events), "more_body": True})


def _message(data: bytes) -> str:
    try:
        return str(json.loads(data)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return "the engine failed"

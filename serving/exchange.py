"""One request over HTTP and its answer as an ASGI application sees them, and whether the client is still there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, Protocol

STATUS = {each.value: b"HTTP/1.1 %d %b\r\n" % (each.value, each.phrase.encode()) for each in HTTPStatus}
GONE = "studiolo.exchange"  # the extension of a scope by which an application learns at once that its client left
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Wire(Protocol):
    """The connection of a request."""

    unread: int  # bytes of a body that may wait for the application
    full: bool  # more waits for the client than should

    def write(self, content: bytes) -> None: ...
    async def room(self) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def answered(self) -> None: ...
    @property
    def closing(self) -> bool: ...
    @property
    def date(self) -> bytes: ...


class Exchange:
    """What is known of one request and its answer; the connection feeds it."""

    __slots__ = (
        "_chunked",
        "_delivered",
        "_head",
        "_news",
        "_on_gone",
        "_parts",
        "_silent",
        "_size",
        "_wire",
        "answered",
        "expects",
        "gone",
        "keep",
        "scope",
        "started",
        "whole",
    )

    def __init__(self, wire: Wire, scope: dict[str, Any], *, keep: bool, expects: bool) -> None:
        self.scope = scope
        self.keep = keep  # the connection may serve another request
        self.expects = expects  # the client waits for a word before it sends the body
        self.whole = False  # the request has come whole
        self.gone = False  # the client has left
        self.started = self.answered = False
        self._wire = wire
        self._on_gone: Callable[[], None] | None = None
        self._parts: list[bytes] = []
        self._size = 0
        self._delivered = False
        self._news: asyncio.Future[None] | None = None
        self._head = b""
        self._chunked = False
        self._silent = scope["method"] == "HEAD"
        scope["extensions"] = {GONE: self}

    @contextmanager
    def watched(self, tell: Callable[[], None]) -> Iterator[None]:
        """Call `tell` when the client leaves during the block; at once if it has left before."""
        if self.gone:
            tell()
        self._on_gone = tell
        try:
            yield
        finally:
            self._on_gone = None

    async def receive(self) -> MutableMapping[str, Any]:
        """Return what has come of the body, or that the client has left."""
        while not self.gone and not self.answered:
            if self._parts or (self.whole and not self._delivered):
                body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
                self._parts.clear()
                self._size = 0
                self._delivered = self.whole
                self._wire.resume()
                return {"type": "http.request", "body": body, "more_body": not self.whole}
            if self.expects and not self.whole:
                self.expects = False
                self._wire.write(_CONTINUE)
            self._news = asyncio.get_running_loop().create_future()
            await self._news
            self._news = None
        return {"type": "http.disconnect"}

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """Send a part of the answer; wait while the client reads too slowly."""
        if self.gone or self.answered:
            return
        if message["type"] == "http.response.start":
            self._start(message["status"], message["headers"])
            return
        body, more = message.get("body", b""), message.get("more_body", False)
        if self._silent:
            body = b""
        elif self._chunked:
            body = (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + (b"" if more else b"0\r\n\r\n")
        if self._head:
            body, self._head = self._head + body, b""  # head and body leave in one write
        if body:
            self._wire.write(body)
        if not more:
            self.answered = True
            self._wire.answered()
        elif self._wire.full:
            await self._wire.room()

    def feed(self, body: bytes) -> None:
        """Take a piece of the body."""
        if self.answered:
            return
        self._parts.append(body)
        self._size += len(body)
        if self._size > self._wire.unread:
            self._wire.pause()
        self.wake()

    def wake(self) -> None:
        """Let `receive` look again."""
        if self._news and not self._news.done():
            self._news.set_result(None)

    def leave(self) -> None:
        """Note that the client has left."""
        self.gone = True
        self.wake()
        if self._on_gone and not self.answered:
            self._on_gone()

    def _start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.started = True
        measured = self._silent or status in (204, 304)
        head = [STATUS.get(status) or b"HTTP/1.1 %d \r\n" % status, self._wire.date]
        for name, value in headers:
            if name == b"content-length":
                measured = True
            elif name == b"connection":
                self.keep = self.keep and value.lower() != b"close"
                continue
            head += (name, b": ", value, b"\r\n")
        if not measured:
            if self.scope["http_version"] == "1.0":
                self.keep = False  # the end of the answer is the end of the connection
            else:
                self._chunked = True
                head.append(b"transfer-encoding: chunked\r\n")
        if not self.whole or self._wire.closing:
            self.keep = False  # what is left of an unread request would be taken for the next one
        head.append(b"\r\n" if self.keep else b"connection: close\r\n\r\n")
        self._head = b"".join(head)

"""The gateway's side of the wire to its clients: HTTP/1.1, read and written within bounds, an ASGI application behind.

Not uvicorn: bounds on heads, on slow senders and on slow readers are promises of ours, a server that drains must still
say so, and this is the hot path: one task a request, one write an answer, no timer of its own.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections import deque
from dataclasses import dataclass
from email.utils import formatdate
from typing import cast
from urllib.parse import unquote

import httptools
from starlette.types import ASGIApp

from serving.exchange import STATUS, Exchange
from serving.openai_errors import Refusal

NEVER = float("inf")
_LOOK = 0.5  # seconds between looks at connections that are late
_DISCARDED = 32_000_000  # bytes of a refused request that are thrown away so that its sender hears the refusal
_ASGI = {"version": "3.0", "spec_version": "2.3"}

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What clients may take, in bytes and seconds."""

    head: int = 32_768
    head_seconds: float = 10.0  # for the whole head
    body_seconds: float = 30.0  # between two pieces of a body
    idle: float = 75.0  # before a request
    reading: float = 60.0  # for a client that reads nothing while its answer waits
    linger: float = 2.0  # for the rest of a request that was refused
    unread: int = 262_144  # bytes of a body that wait for the application
    unsent: int = 65_536  # bytes of an answer that wait for the client
    kernel: int = 262_144  # and in the kernel, which would take megabytes: a hundred who do not read would be a flood
    connections: int = 8_192
    requests: int = 4_096  # at once


class Server:
    """The connections to one application: `await Server(app).serve(listener, patience=30)` until `drain` is called."""

    def __init__(self, app: ASGIApp, bounds: Bounds | None = None) -> None:
        self.app = app
        self.bounds = bounds or Bounds()
        self.draining = False
        self.tasks: dict[Exchange, asyncio.Task[None]] = {}  # requests whose application has not ended
        self.open: set[Connection] = set()
        self.date = b""
        self._told = asyncio.Event()
        self._quiet = asyncio.Event()

    async def serve(self, listener: socket.socket, *, patience: float) -> None:
        """Answer until told to drain; then end what is under way, for `patience` seconds at most."""
        loop = asyncio.get_running_loop()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self.bounds.kernel)  # connections inherit it
        server = await loop.create_server(lambda: Connection(self, loop), sock=listener, backlog=2_048)
        sweeper = asyncio.create_task(self._sweep())
        try:
            await self._told.wait()
            if self.tasks:
                try:
                    async with asyncio.timeout(patience):
                        await self._quiet.wait()
                except TimeoutError:
                    log.warning("%d requests were cut: they did not end in %g s", len(self.tasks), patience)
        finally:
            server.close()
            await self._hang_up()
            sweeper.cancel()

    def drain(self) -> None:
        """End what is under way and refuse what comes; with nothing left `serve` returns."""
        self.draining = True
        self._told.set()

    def ended(self, exchange: Exchange) -> None:
        """Note that a request has ended."""
        del self.tasks[exchange]
        if self.draining and not self.tasks:
            self._quiet.set()

    def refusal(self) -> Refusal | None:
        """Return why no request is taken now."""
        if self.draining:
            return Refusal(503, "the gateway is shutting down", code="shutting_down", headers={"retry-after": "2"})
        if len(self.tasks) >= self.bounds.requests or len(self.open) > self.bounds.connections:
            return Refusal(503, "too many requests at once", code="overloaded", headers={"retry-after": "1"})
        return None

    async def _hang_up(self) -> None:
        """Close all connections; what was answered may still be on its way for a second."""
        for connection in list(self.open):
            connection.finish()
        deadline = time.monotonic() + 1.0
        while self.open and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        for connection in list(self.open):
            connection.cut()

    async def _sweep(self) -> None:
        while True:
            self.date = b"date: %b\r\n" % formatdate(usegmt=True).encode()
            now = time.monotonic()
            for connection in list(self.open):
                if connection.due < now:
                    connection.late()
            await asyncio.sleep(_LOOK)


class Connection(asyncio.Protocol):
    """One client: its requests one after the other, however many it sends at once."""

    def __init__(self, server: Server, loop: asyncio.AbstractEventLoop) -> None:
        self.due = NEVER  # when the patience with the client ends
        self.full = False  # more waits for the client than should
        self.unread = server.bounds.unread
        self._server = server
        self._bounds = server.bounds
        self._loop = loop
        self._app = server.app
        self._parser = httptools.HttpRequestParser(self)
        self._waiting: deque[Exchange] = deque()  # sent before the answer to the one before
        self._now: Exchange | None = None  # being answered
        self._coming: Exchange | None = None  # being read
        self._room: asyncio.Future[None] | None = None
        self._in_head = False
        self._fed = self._head_size = 0
        self._discarded = -1  # bytes thrown away since this connection was given up; -1: it was not
        self._paused = False

    @property
    def closing(self) -> bool:
        """Whether this is the last answer."""
        return self._server.draining

    @property
    def date(self) -> bytes:
        """The header that tells the time."""
        return self._server.date

    # The exchange calls these

    def write(self, content: bytes) -> None:
        """Write to the client."""
        self._transport.write(content)

    async def room(self) -> None:
        """Wait until the client has read enough."""
        if self.full:
            self.due = time.monotonic() + self._bounds.reading
            self._room = self._loop.create_future()
            await self._room

    def pause(self) -> None:
        """Read no more for now."""
        if not self._paused and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read on, unless a whole request waits already."""
        if self._paused and not self._waiting and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()

    def answered(self) -> None:
        """Go on to the next request, or hang up."""
        done, self._now = self._now, None
        if done is None or not done.keep:
            self._give_up()
        elif self._waiting:
            self._begin(self._waiting.popleft())
            self.resume()
        else:
            self.due = time.monotonic() + (self._bounds.head_seconds if self._in_head else self._bounds.idle)

    # The server calls these

    def late(self) -> None:
        """Act on a patience that has ended."""
        speaks = self._in_head if self._now is None else not (self._now.whole or self._now.started)
        if self._discarded < 0 and speaks:
            self._refuse(Refusal(408, "the request did not come in time", code="request_timeout"))
        else:
            self.cut()

    def finish(self) -> None:
        """Hang up when what was written has left."""
        self._transport.close()

    def cut(self) -> None:
        """Hang up at once."""
        self._transport.abort()

    # asyncio calls these

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=self._bounds.unsent)
        self._client = transport.get_extra_info("peername")
        self._server.open.add(self)
        self.due = time.monotonic() + self._bounds.idle

    def data_received(self, data: bytes) -> None:
        if self._discarded >= 0:
            self._discarded += len(data)
            if self._discarded > _DISCARDED:
                self.cut()
            return
        if self._in_head:
            self._fed += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # we stay what we are; this connection ends with its answer
        except httptools.HttpParserError as error:
            if self._discarded < 0:
                self._refuse(Refusal(400, f"this is no HTTP request: {error}", code="invalid_http"))
        else:
            if self._in_head and self._fed > self._bounds.head:
                self._too_long()

    def connection_lost(self, _: Exception | None) -> None:
        self._server.open.discard(self)
        self.full = False
        self._free()
        for exchange in (self._now, self._coming, *self._waiting):
            if exchange and not exchange.gone:
                exchange.leave()
        self._waiting.clear()

    def pause_writing(self) -> None:
        self.full = True

    def resume_writing(self) -> None:
        self.full = False
        if self._now:
            self.due = NEVER
        self._free()

    # httptools calls these

    def on_message_begin(self) -> None:
        self._in_head = True
        self._fed = self._head_size = 0
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._expects = False
        if self._now is None and self._discarded < 0:
            self.due = time.monotonic() + self._bounds.head_seconds

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        self._head_size += len(name) + len(value)
        if name == b"expect" and value.lower() == b"100-continue":
            self._expects = True
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        self._in_head = False
        if self._discarded >= 0:
            return
        if self._head_size + len(self._url) > self._bounds.head:
            self._too_long()
            return
        path, _, query = self._url.partition(b"?")
        if not path.startswith(b"/"):  # "http://host/path"; "*" and "host:port" have no path here
            path = b"/" + path.partition(b"://")[2].partition(b"/")[2]
        text = path.decode("latin-1")
        parser = self._parser
        scope = {
            "type": "http",
            "asgi": _ASGI,
            "http_version": parser.get_http_version(),
            "method": parser.get_method().decode("latin-1"),
            "scheme": "http",
            "path": unquote(text) if "%" in text else text,
            "raw_path": path,
            "query_string": query,
            "root_path": "",
            "headers": self._headers,
            "client": self._client,
            "server": None,
        }
        keep = parser.should_keep_alive() and not parser.should_upgrade()
        self._coming = coming = Exchange(self, scope, keep=keep, expects=self._expects)
        if self._now is None:
            self._begin(coming)
        else:
            self._waiting.append(coming)
            self.pause()

    def on_body(self, body: bytes) -> None:
        if coming := self._coming:
            coming.feed(body)
            if coming is self._now and not self.full:
                self.due = time.monotonic() + self._bounds.body_seconds

    def on_message_complete(self) -> None:
        if coming := self._coming:
            self._coming = None
            coming.whole = True
            coming.wake()
            if coming is self._now and not self.full:
                self.due = NEVER

    def _begin(self, exchange: Exchange) -> None:
        self._now = exchange
        if told := self._server.refusal():
            self._refuse(told)
            return
        self.due = NEVER if exchange.whole else time.monotonic() + self._bounds.body_seconds
        self._server.tasks[exchange] = self._loop.create_task(self._run(exchange))

    async def _run(self, exchange: Exchange) -> None:
        try:
            await self._app(exchange.scope, exchange.receive, exchange.send)
        except Exception:
            log.exception("a request failed")
        finally:
            self._server.ended(exchange)
            if not exchange.answered and not exchange.gone:
                self.cut()  # half an answer must not be taken for a whole one

    def _too_long(self) -> None:
        text = f"the head of a request may have {self._bounds.head:,} bytes at most"
        self._refuse(Refusal(431, text, code="headers_too_large"))

    def _refuse(self, told: Refusal) -> None:
        """Answer without the application, and give the connection up."""
        extra = b"".join(b"%b: %b\r\n" % (name.encode(), value.encode()) for name, value in told.headers.items())
        head = STATUS[told.status] + self.date + b"content-type: application/json\r\nconnection: close\r\n" + extra
        self.write(head + b"content-length: %d\r\n\r\n" % len(told.body) + told.body)
        exchange, self._now = self._now, None
        self._give_up()
        if exchange:
            exchange.leave()

    def _give_up(self) -> None:
        """Close once the client has read the answer; what it still sends meanwhile is thrown away.

        Closing before would reset the connection, and the client would never see why.
        """
        unread = self._in_head or self._coming is not None
        self._discarded = 0
        self._in_head = False
        self._coming = None
        self._waiting.clear()
        if unread and not self._transport.is_closing():
            self.resume()
            self._transport.write_eof()
            self.due = time.monotonic() + self._bounds.linger
        else:
            self._transport.close()
            self.due = time.monotonic() + self._bounds.reading

    def _free(self) -> None:
        if self._room and not self._room.done():
            self._room.set_result(None)
        self._room = None

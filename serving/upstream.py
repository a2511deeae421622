"""The gateway's side of the wire to an engine: an HTTP/1.1 request over a unix socket or TCP, the answer as it comes.

Not httpx: this is the hot path, and the gateway needs three things only: bytes at once, back pressure, and a close
that the engine notices. A connection has one request at a time, so closing it cancels the generation behind it; only
one whose answer came whole is kept for the next.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import deque
from dataclasses import dataclass, field
from functools import lru_cache
from typing import cast
from urllib.parse import urlsplit

import httptools

from workspace.errors import Unavailable

CONNECT = 2.0  # seconds
AHEAD = 65_536  # bytes read ahead of a client that reads slowly
READ = 65_536  # bytes read at once, so that an engine in full flood leaves the others their turn
KEPT = 2.0  # seconds for which a connection waits for the next request: less than any server waits
SPARE = 512  # connections kept to one address


@dataclass(frozen=True, slots=True)
class Address:
    """Where an engine listens: a unix socket, or a host; `prefix` goes before every path, `key` into each request."""

    socket: str = ""
    host: str = "engine"
    port: int = 0
    secure: bool = False
    prefix: str = ""
    key: str = field(default="", repr=False)  # the bearer token that the engine asks for

    @classmethod
    def parse(cls, base_url: str, *, key: str = "") -> Address:
        """Read the base URL of an OpenAI-compatible server: "http://127.0.0.1:8000/v1"."""
        return _parsed(base_url, key)


@lru_cache(1_024)
def _parsed(base_url: str, key: str) -> Address:
    parts = urlsplit(base_url)
    secure = parts.scheme == "https"
    prefix = parts.path.rstrip("/").removesuffix("/v1")
    return Address("", parts.hostname or "", parts.port or (443 if secure else 80), secure, prefix, key)


class Unreachable(Unavailable):
    """Nobody took the request: sending it again is safe."""


class Stale(Unreachable):
    """A kept connection was closed as the request came: a new one will tell."""


class Broken(Unavailable):
    """The answer ended before it was whole, or was no HTTP."""


class Slow(Unavailable):
    """The engine stayed silent for too long."""


class Answer:
    """The answer to one request: `status` and `headers` after `head()`, then chunks until an empty one."""

    __slots__ = (
        "_chunks",
        "_closed",
        "_complete",
        "_connection",
        "_failure",
        "_size",
        "_waiter",
        "headers",
        "reused",
        "status",
    )

    def __init__(self, connection: Connection, *, reused: bool) -> None:
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.reused = reused
        self._connection = connection
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._complete = self._closed = False
        self._failure: str | None = None
        self._waiter: asyncio.Future[bool] | None = None

    async def head(self, seconds: float) -> None:
        """Wait for the status and the headers."""
        while not self.status:
            self._check()
            await self._wait(seconds)

    async def chunk(self, seconds: float) -> bytes:
        """Return what has arrived, waiting for something; nothing means that the answer is whole."""
        while not self._chunks:
            if self._complete:
                return b""
            self._check()
            await self._wait(seconds)
        found = self._chunks.popleft() if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        if self._size > AHEAD:
            self._connection.resume()
        self._size = 0
        return found

    async def body(self, seconds: float) -> bytes:
        """Return the whole answer, if it comes in that time."""
        deadline = time.monotonic() + seconds
        parts = []
        while part := await self.chunk(max(0.0, deadline - time.monotonic())):
            parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        """Let go: an engine that still generates sees its client hang up and stops."""
        if not self._closed:
            self._closed = True
            self._connection.release(complete=self._complete and not self._chunks)

    async def _wait(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self._waiter = waiter = loop.create_future()
        timer = loop.call_later(seconds, _give_up, waiter)
        try:
            if not await waiter:
                raise Slow(f"the engine sent nothing for {seconds:g} s")
        finally:
            timer.cancel()
            self._waiter = None

    def _check(self) -> None:
        if self._failure is not None:
            raise Stale(self._failure) if self.reused and not self.status else Broken(self._failure)

    # The connection calls these

    def begin(self, status: int) -> None:
        """Take the status; the headers are there."""
        self.status = status
        self._wake()

    def feed(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._chunks.append(body)
        self._size += len(body)
        if self._size > AHEAD:
            self._connection.pause()
        self._wake()

    def end(self, failure: str | None = None) -> None:
        """Note that the answer is whole, or why it never will be."""
        if failure is None and self.status:
            self._complete = True
        elif not self._complete and self._failure is None:
            self._failure = failure
        self._wake()

    def _wake(self) -> None:
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(True)


class Connection(asyncio.BufferedProtocol):
    """One connection to an engine and the answer that comes over it.

    What is read is taken out of the buffer at once, so all connections may share one.
    """

    def __init__(self, buffer: bytearray) -> None:
        self._buffer = memoryview(buffer)
        self.answer = Answer(self, reused=False)
        self.idle_since = 0.0
        self._pool: tuple[Pool, Address] | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._keep = False  # the engine keeps the connection after this answer

    @property
    def closing(self) -> bool:
        """Whether it is of no more use."""
        return self._transport.is_closing()

    def ask(self, request: bytes, *, reused: bool = False, pool: tuple[Pool, Address] | None = None) -> Answer:
        """Send a request; with a pool the connection goes to it when the answer was whole."""
        if reused:
            self.answer = Answer(self, reused=True)
        self._pool, self._keep = pool, False
        self._transport.write(request)
        return self.answer

    def release(self, *, complete: bool) -> None:
        """Hang up, or go back to the pool."""
        pool, self._pool = self._pool, None
        if complete and pool and self._keep and not self.closing:
            pool[0].put(pool[1], self)
        else:
            self._transport.abort()

    def pause(self) -> None:
        """Read no more for now."""
        if not self.closing:
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if not self.closing:
            self._transport.resume_reading()

    # asyncio calls these

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  (asyncio's name)
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self.idle_since:  # nobody asked
            self.release(complete=False)
            return
        try:
            self._parser.feed_data(self._buffer[:nbytes])
        except httptools.HttpParserError as error:
            self.answer.end(f"the engine's answer is no HTTP: {error}")
            self.release(complete=False)

    def connection_lost(self, error: Exception | None) -> None:
        answer = self.answer
        # An answer of no stated length ends with its connection.
        measured = b"content-length" in answer.headers or b"transfer-encoding" in answer.headers
        if answer.status and not measured and error is None:
            answer.end()
        answer.end("the engine hung up in the middle of its answer" if answer.status else "the engine hung up")

    # httptools calls these

    def on_header(self, name: bytes, value: bytes) -> None:
        self.answer.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status >= 200:  # 1xx only announce
            self.answer.begin(status)
        else:
            self.answer.headers.clear()

    def on_body(self, body: bytes) -> None:
        self.answer.feed(body)

    def on_message_complete(self) -> None:
        if self.answer.status:
            self._keep = self._parser.should_keep_alive()
            self.answer.end()


class Pool:
    """Connections that are kept between requests, by address, the last used first."""

    def __init__(self) -> None:
        self._idle: dict[Address, deque[Connection]] = {}
        self._buffer = bytearray(READ)
        self._heads: dict[tuple[Address, str], bytes] = {}
        self._secure: ssl.SSLContext | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def send(
        self, address: Address, method: str, path: str, *, body: bytes = b"", request_id: str = "", told: bytes = b"",
        fresh: bool = False,
    ) -> Answer:  # fmt: skip
        """Send one request and return its answer, of which nothing has been read yet. Close it in any case.

        `told` are more lines of the head. A fresh one goes over a connection that nobody has used.
        """
        if len(self._heads) > 1_024:
            self._heads.clear()
        head = self._heads.get((address, path)) or self._heads.setdefault((address, path), _head(address, path))
        request = b"%b %bcontent-length: %d\r\nx-request-id: %b\r\n%b\r\n%b" % (
            method.encode(),
            head,
            len(body),
            request_id.encode("latin-1"),
            told,
            body,
        )
        if not fresh and (connection := self._take(address)):
            return connection.ask(request, reused=True, pool=(self, address))
        connection = await _connect(address, self._context(address), self._buffer)
        return connection.ask(request, pool=(self, address))

    def put(self, address: Address, connection: Connection) -> None:
        """Keep a connection for the next request."""
        connection.idle_since = time.monotonic()
        kept = self._idle.setdefault(address, deque())
        kept.append(connection)
        if len(kept) > SPARE:
            kept.popleft().release(complete=False)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(KEPT, self._tidy)

    def _take(self, address: Address) -> Connection | None:
        kept = self._idle.get(address)
        while kept:
            connection = kept.pop()
            if not connection.closing and time.monotonic() - connection.idle_since < KEPT:
                connection.idle_since = 0.0
                return connection
            connection.release(complete=False)
        return None

    def _tidy(self) -> None:
        """Close what has waited too long."""
        old = time.monotonic() - KEPT
        for address, kept in list(self._idle.items()):
            while kept and (kept[0].idle_since <= old or kept[0].closing):
                kept.popleft().release(complete=False)
            if not kept:
                del self._idle[address]
        self._timer = asyncio.get_running_loop().call_later(KEPT, self._tidy) if self._idle else None

    def _context(self, address: Address) -> ssl.SSLContext | None:
        if address.secure and self._secure is None:
            self._secure = ssl.create_default_context()  # reads the certificates of the world: once
        return self._secure if address.secure else None


async def send(address: Address, method: str, path: str, *, body: bytes = b"") -> Answer:
    """Send one request over a connection of its own and return its answer. Close it in any case."""
    connection = await _connect(address, ssl.create_default_context() if address.secure else None, bytearray(READ))
    head = b"%b %bcontent-length: %d\r\nconnection: close\r\n\r\n" % (method.encode(), _head(address, path), len(body))
    return connection.ask(head + body)


def _head(address: Address, path: str) -> bytes:
    key = f"authorization: Bearer {address.key}\r\n" if address.key else ""
    return (
        f"{address.prefix}{path} HTTP/1.1\r\nhost: {address.host}\r\ncontent-type: application/json\r\n"
        f"accept-encoding: identity\r\n{key}"
    ).encode("latin-1")


async def _connect(address: Address, secure: ssl.SSLContext | None, buffer: bytearray) -> Connection:
    loop = asyncio.get_running_loop()

    def made() -> Connection:
        return Connection(buffer)

    try:
        async with asyncio.timeout(CONNECT):
            if address.socket:
                return (await loop.create_unix_connection(made, address.socket))[1]
            return (await loop.create_connection(made, address.host, address.port, ssl=secure))[1]
    except (OSError, TimeoutError) as error:
        where = address.socket or f"{address.host}:{address.port}"
        reason = getattr(error, "strerror", None) or str(error) or "no answer in time"
        raise Unreachable(f"no engine answers at {where}: {reason}") from error


def _give_up(waiter: asyncio.Future[bool]) -> None:
    if not waiter.done():
        waiter.set_result(False)

"""The gateway's side of the wire to an engine: one HTTP/1.1 request over a unix socket or TCP, the answer as it comes.

Not httpx: this is the hot path, and the gateway needs three things only: bytes at once, back pressure, and a close
that the engine notices. Each request has a connection of its own, so closing it cancels the generation behind it.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import urlsplit

import httptools

from workspace.errors import Unavailable

CONNECT = 2.0  # seconds
AHEAD = 262_144  # bytes read ahead of a client that reads slowly


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
        parts = urlsplit(base_url)
        secure = parts.scheme == "https"
        prefix = parts.path.rstrip("/").removesuffix("/v1")
        return cls("", parts.hostname or "", parts.port or (443 if secure else 80), secure, prefix, key)


class Unreachable(Unavailable):
    """Nobody took the request: sending it again is safe."""


class Broken(Unavailable):
    """The answer ended before it was whole, or was no HTTP."""


class Slow(Unavailable):
    """The engine stayed silent for too long."""


class Answer(asyncio.Protocol):
    """The answer to one request: `status` and `headers` after `head()`, then chunks until an empty one."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._complete = False
        self._failure: str | None = None
        self._news = asyncio.Event()

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
        if self._size > AHEAD and self._transport and not self._transport.is_closing():
            self._transport.resume_reading()
        self._size = 0
        return found

    async def body(self, seconds: float) -> bytes:
        """Return the whole answer."""
        parts = []
        while part := await self.chunk(seconds):
            parts.append(part)
        return b"".join(parts)

    def close(self) -> None:
        """Hang up; an engine that still generates stops."""
        if self._transport:
            self._transport.abort()

    async def _wait(self, seconds: float) -> None:
        self._news.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            raise Slow(f"the engine sent nothing for {seconds:g} s") from None

    def _check(self) -> None:
        if self._failure is not None:
            raise Broken(self._failure)

    def _end(self, failure: str) -> None:
        if not self._complete and self._failure is None:
            self._failure = failure
        self._news.set()

    # asyncio calls these

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._end(f"the engine's answer is no HTTP: {error}")
            self.close()

    def connection_lost(self, error: Exception | None) -> None:
        # An answer of no stated length ends with its connection.
        measured = b"content-length" in self.headers or b"transfer-encoding" in self.headers
        if self.status and not measured and error is None:
            self._complete = True
        self._end("the engine hung up in the middle of its answer" if self.status else "the engine hung up")

    # httptools calls these

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status >= 200:  # 1xx only announce
            self.status = status
            self._news.set()
        else:
            self.headers.clear()

    def on_body(self, body: bytes) -> None:
        self._chunks.append(body)
        self._size += len(body)
        if self._size > AHEAD and self._transport:
            self._transport.pause_reading()
        self._news.set()

    def on_message_complete(self) -> None:
        if self.status:
            self._complete = True
            self._news.set()


async def send(address: Address, method: str, path: str, *, body: bytes = b"", request_id: str = "") -> Answer:
    """Send one request and return its answer, of which nothing has been read yet. Close it in any case."""
    transport, answer = await _connect(address)
    head = (
        f"{method} {address.prefix}{path} HTTP/1.1\r\nhost: {address.host}\r\nconnection: close\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\naccept-encoding: identity\r\n"
        + (f"authorization: Bearer {address.key}\r\n" if address.key else "")
        + (f"x-request-id: {request_id}\r\n" if request_id else "")
        + "\r\n"
    )
    transport.write(head.encode("latin-1") + body)
    return answer


async def _connect(address: Address) -> tuple[asyncio.Transport, Answer]:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(CONNECT):
            if address.socket:
                return await loop.create_unix_connection(Answer, address.socket)
            secure = ssl.create_default_context() if address.secure else None
            return await loop.create_connection(Answer, address.host, address.port, ssl=secure)
    except (OSError, TimeoutError) as error:
        where = address.socket or f"{address.host}:{address.port}"
        reason = getattr(error, "strerror", None) or str(error) or "no answer in time"
        raise Unreachable(f"no engine answers at {where}: {reason}") from error

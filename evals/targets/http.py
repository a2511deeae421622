"""Asking an HTTP server very often: connections are kept, and a request costs little more than its bytes.

`httptools` reads what comes, as it does for the gateway. httpx takes about ten times as long for a small answer, which
is what an evaluation of ten thousand rows would wait for; it is used where a proxy of the environment has to be.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httptools

from workspace.errors import Invalid

LARGEST = 64_000_000  # bytes of one answer


@dataclass(slots=True)
class Reply:
    """What a server answered."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class Broken(ConnectionError):
    """No whole answer came over a connection; `begun` says whether some of it did."""

    def __init__(self, message: str, *, begun: bool) -> None:
        super().__init__(message)
        self.begun = begun


class Client(Protocol):
    """What asks one server."""

    async def ask(self, method: str, path: str, body: bytes = b"") -> Reply:
        """Return the server's answer; raises OSError where there is none."""

    async def close(self) -> None:
        """Close what is kept open."""


def client(base_url: str, headers: Mapping[str, str]) -> Client:
    """Return a client for a server, through the proxy of the environment where there is one for it."""
    parts = urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Invalid(f"{base_url!r} is no address of a server", hint="such as http://127.0.0.1:8000/v1")
    if parts.scheme in getproxies() and not proxy_bypass(parts.hostname):
        return _Proxied(base_url, headers)
    return _Direct(base_url, headers)


class _Direct:
    def __init__(self, base_url: str, headers: Mapping[str, str]) -> None:
        parts = urlsplit(base_url)
        self._host, self._tls = str(parts.hostname), parts.scheme == "https"
        self._port = parts.port or (443 if self._tls else 80)
        self._root = parts.path.rstrip("/")
        given = {"host": parts.netloc.rpartition("@")[2], "content-type": "application/json", **headers}
        if any("\r" in value or "\n" in value for value in given.values()):
            raise Invalid("a header cannot have line breaks")
        self._head = "".join(f"{name}: {value}\r\n" for name, value in given.items())
        self._idle: list[_Connection] = []
        self._all: set[_Connection] = set()

    async def ask(self, method: str, path: str, body: bytes = b"") -> Reply:
        head = f"{method} {self._root}/{path} HTTP/1.1\r\n{self._head}content-length: {len(body)}\r\n\r\n".encode()
        while True:
            kept = self._take()
            connection = kept or await self._connect()
            try:
                reply = await connection.exchange(head + body)
            except Broken as error:
                if kept is not None and not error.begun:
                    continue  # the server closed it while nobody used it
                raise
            finally:
                if connection.usable:
                    self._idle.append(connection)
                else:
                    connection.close()
                    self._all.discard(connection)
            return reply

    async def close(self) -> None:
        for connection in self._all:
            connection.close()
        self._all.clear()
        self._idle.clear()

    def _take(self) -> _Connection | None:
        while self._idle:
            if (connection := self._idle.pop()).usable:
                return connection
            self._all.discard(connection)
        return None

    async def _connect(self) -> _Connection:
        secure = ssl.create_default_context() if self._tls else None
        _, connection = await asyncio.get_running_loop().create_connection(
            _Connection, self._host, self._port, ssl=secure
        )
        self._all.add(connection)
        return connection


class _Connection(asyncio.Protocol):
    """One connection with one request at a time."""

    def __init__(self) -> None:
        self._transport: Any = None
        self._waiting: asyncio.Future[Reply] | None = None
        self._begun = self._to_the_end = False
        self._fresh = True

    @property
    def usable(self) -> bool:
        return self._fresh and self._waiting is None and not self._transport.is_closing()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    async def exchange(self, request: bytes) -> Reply:
        self._reply, self._parts, self._size = Reply(), list[bytes](), 0
        self._begun = self._to_the_end = False
        self._parser = httptools.HttpResponseParser(self)
        waiting: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting = waiting
        self._transport.write(request)
        try:
            return await waiting
        finally:
            if self._waiting is not None:  # broken, or nobody waits any more: what comes would be the next one's
                self._waiting, self._fresh = None, False

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._waiting is None:
            self._fresh = False
            self._transport.abort()
            return
        self._begun = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(f"what came is no HTTP: {error}")

    def connection_lost(self, exc: Exception | None) -> None:
        self._fresh = False
        if self._waiting is not None and self._to_the_end:
            self.on_message_complete()
        else:
            self._fail(f"the connection was closed: {exc}" if exc else "the connection was closed")

    # the parser's side

    def on_header(self, name: bytes, value: bytes) -> None:
        self._reply.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self._reply.status = self._parser.get_status_code()
        headers = self._reply.headers
        self._to_the_end = "content-length" not in headers and "transfer-encoding" not in headers

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        if self._size > LARGEST:
            self._fail(f"an answer of more than {LARGEST:,} bytes")
            return
        self._parts.append(body)

    def on_message_complete(self) -> None:
        if self._reply.status < 200 and self._reply.status:  # "100 Continue" and the like: the answer comes after
            self._reply, self._parts = Reply(), []
            return
        self._reply.body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._fresh = self._fresh and not self._to_the_end and self._parser.should_keep_alive()
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.done():
            waiting.set_result(self._reply)

    def _fail(self, reason: str) -> None:
        self._fresh = False
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(Broken(reason, begun=self._begun))
        if self._transport is not None:
            self._transport.abort()


class _Proxied:
    def __init__(self, base_url: str, headers: Mapping[str, str]) -> None:
        import httpx

        self._client = httpx.AsyncClient(
            base_url=base_url.rstrip("/") + "/", headers=dict(headers) | {"content-type": "application/json"},
            timeout=3600.0, limits=httpx.Limits(max_connections=None),
        )  # fmt: skip

    async def ask(self, method: str, path: str, body: bytes = b"") -> Reply:
        import httpx

        try:
            response = await self._client.request(method, path, content=body)
        except httpx.TransportError as error:
            raise Broken(str(error) or type(error).__name__, begun=False) from error
        return Reply(response.status_code, dict(response.headers), response.content)

    async def close(self) -> None:
        await self._client.aclose()

"""uvicorn's HTTP protocol with one write an answer: head and body leave together, and a system call is saved."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class OneWrite(HttpToolsProtocol):
    """As uvicorn's own, over a transport that joins the head of an answer with its body."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to serve a connection."""
        super().connection_made(_Joined(transport, self.loop))  # type: ignore[arg-type]


class _Joined:
    """A transport that holds the head of an answer until the body comes, or until the loop turns."""

    __slots__ = ("_held", "_loop", "_transport", "_write")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._write = transport.write
        self._loop = loop
        self._held = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, content: bytes) -> None:
        """Write, or hold what begins an answer."""
        if self._held:
            content, self._held = self._held + content, b""
        elif content.startswith(b"HTTP/1.1 "):
            self._held = content
            self._loop.call_soon(self._flush)
            return
        self._write(content)

    def close(self) -> None:
        """Write what is held, and close."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._held:
            content, self._held = self._held, b""
            self._write(content)

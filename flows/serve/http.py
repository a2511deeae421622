"""The little HTTP that a served flow needs: one request as a value, its body within bounds, answers and refusals."""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from flows.results import LineRecord
from workspace.errors import StudioloError

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Pairs = list[tuple[bytes, bytes]]

LEFT = 499  # what is kept of a request whose client has gone; nobody reads it
_ID = re.compile(rb"[\x21-\x7e]{1,128}")
encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class Gone(Exception):
    """The client has left."""


class Refused(StudioloError):
    """A request that is answered with an error: `Refused(400, "the body is no JSON")`."""

    def __init__(self, status: int, message: str, *, code: str = "UserError", headers: Pairs | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = headers or []


class Call:
    """One request and what becomes of it. `id` is the client's own where it gives one, and the run's id."""

    __slots__ = (
        "begun",
        "feedback",
        "headers",
        "id",
        "line",
        "method",
        "path",
        "query",
        "size",
        "started",
        "status",
        "ts",
    )

    def __init__(self, scope: Mapping[str, Any]) -> None:
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query: bytes = scope["query_string"]
        given = self.headers.get(b"x-request-id") or self.headers.get(b"x-ms-client-request-id") or b""
        self.id = given.decode("latin-1") if _ID.fullmatch(given) else f"{random.getrandbits(128):032x}"
        self.ts = time.time()
        self.started = time.perf_counter()
        self.status = 0
        self.size = 0  # bytes of what was asked and answered
        self.begun = False  # whether the answer has begun
        self.line: LineRecord | None = None
        self.feedback: dict[str, Any] | None = None

    def accepts(self) -> frozenset[str]:
        """Return the media types the client takes; none named: any.

        >>> Call({"headers": [(b"accept", b"text/event-stream;q=0.9")], "method": "POST", "path": "/",
        ...       "query_string": b""}).accepts()
        frozenset({'text/event-stream'})
        """
        given = self.headers.get(b"accept")
        if not given or given == b"*/*":
            return _ANY
        parts = (part.partition(";")[0].strip().lower() for part in given.decode("latin-1").split(","))
        return frozenset(part for part in parts if part) or _ANY


_ANY = frozenset({"*/*"})


async def read(call: Call, receive: Receive, *, largest: int) -> bytes:
    """Return the body; Refused where it is too large, Gone where the client leaves before its end."""
    stated = call.headers.get(b"content-length", b"0")
    if stated.isdigit() and int(stated) > largest:
        raise _too_large(largest)
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        body: bytes = message.get("body", b"")
        if len(body) > largest:
            raise _too_large(largest)
        call.size += len(body)
        return body
    parts, size = [], 0
    while True:
        if message["type"] == "http.disconnect":
            raise Gone
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > largest:
            raise _too_large(largest)
        call.size = size
        if not message.get("more_body"):
            return b"".join(parts)
        message = await receive()


async def until_gone(receive: Receive) -> None:
    """Return when the client has hung up."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def answer(call: Call, send: Send, body: bytes, headers: Pairs, *, status: int = 200) -> None:
    """Send a whole answer."""
    call.status, call.begun = status, True
    call.size += len(body)
    headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def error_body(code: str, message: str) -> bytes:
    """Return an error in the shape that clients of prompt flow read."""
    return encode({"error": {"code": code, "message": message}}).encode("utf-8", "surrogatepass")


def _too_large(largest: int) -> Refused:
    # The rest of the body is not read: the connection cannot be used again.
    return Refused(413, f"a request may have {largest:,} bytes at most", headers=[(b"connection", b"close")])

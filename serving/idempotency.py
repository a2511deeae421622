"""A request that comes again with its Idempotency-Key is answered as it was the first time, and does nothing new.

The answers are kept in memory, for a day, up to a bound; each token has keys of its own.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from starlette.types import Send

from serving.openai_errors import Refusal

HEADER = b"idempotency-key"
DAY = 86_400.0
LONGEST = 255  # bytes of a key
_ENTRIES = 10_000
_BYTES = 64_000_000
_TOLD = (b"content-type", b"x-studiolo-")  # headers that belong to the answer, not to the request
_FINAL = (400, 422)  # errors that would be the same again


@dataclass(slots=True)
class Kept:
    """A request that came with a key; `body` is None as long as it is under way."""

    digest: bytes
    at: float
    status: int = 0
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes | None = None

    @property
    def kind(self) -> str:
        """The content type."""
        return next((value.decode("latin-1") for name, value in self.headers if name == b"content-type"), "")

    @property
    def told(self) -> dict[str, str]:
        """The headers that say who gave the answer, and that it was given before."""
        found = {name.decode(): value.decode("latin-1") for name, value in self.headers if name != b"content-type"}
        return {**found, "idempotent-replayed": "true"}


class Replays:
    """The answers that one gateway keeps."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._kept: OrderedDict[tuple[str, bytes], Kept] = OrderedDict()
        self._bytes = 0

    @contextmanager
    def first(self, token_id: str, key: bytes, request: bytes, recorder: Recorder) -> Iterator[Kept | None]:
        """Give the answer of the first time; None where this is it, and its answer is kept as it leaves.

        A Refusal 422 where the key came with another request, 409 where the first is still under way.
        """
        if len(key) > LONGEST or not key:
            raise Refusal(400, f"an Idempotency-Key has 1 to {LONGEST} characters", code="invalid_idempotency_key")
        name, digest = (token_id, sha256(key).digest()), sha256(request).digest()
        self._tidy()
        if found := self._kept.get(name):
            if found.digest != digest:
                raise Refusal(422, "this Idempotency-Key came with another request", code="idempotency_key_reused")
            if found.body is None:
                raise Refusal(
                    409,
                    "a request with this Idempotency-Key is under way",
                    code="idempotency_conflict",
                    headers={"retry-after": "1"},
                )
            yield found
            return
        entry = self._kept[name] = Kept(digest, self._clock())
        try:
            yield None
        finally:
            if recorder.final:
                entry.status, entry.headers, entry.body = recorder.status, recorder.headers, b"".join(recorder.parts)
                self._bytes += len(entry.body)
            else:
                self._kept.pop(name, None)

    def _tidy(self) -> None:
        """Forget what is a day old; the oldest too where it is too much."""
        old = self._clock() - DAY
        while self._kept:
            name, entry = next(iter(self._kept.items()))
            if entry.at > old and len(self._kept) < _ENTRIES and self._bytes < _BYTES:
                return
            del self._kept[name]
            self._bytes -= len(entry.body or b"")


class Recorder:
    """Where an answer goes that may have to be told again."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0
        self.headers: tuple[tuple[bytes, bytes], ...] = ()
        self.parts: list[bytes] = []
        self.final = False  # it has come whole, and would be the same again
        self._streams = False

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        """Pass on and remember."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            told = [(name, value) for name, value in message["headers"] if name.startswith(_TOLD)]
            self.headers = tuple(told)
            self._streams = any(value.startswith(b"text/event-stream") for _, value in self.headers)
        elif not self._streams:
            self.parts.append(message.get("body", b""))
            whole = not message.get("more_body")
            self.final = whole and (self.status < 300 or self.status in _FINAL)
        await self._send(message)

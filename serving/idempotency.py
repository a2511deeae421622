"""A request that comes again with its Idempotency-Key is answered as it was the first time, and does nothing new.

Answers are kept for a day, up to a bound, and a gateway that comes back knows them; each token has keys of its own.
Which requests are under way, each gateway knows of itself.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from starlette.types import Send

from serving.openai_errors import Refusal
from serving.replay_store import Bounds, Kept, ReplayStore
from workspace.errors import StudioloError

HEADER = b"idempotency-key"
FILE = "replays.db"  # in the workspace's folder
LONGEST = 255  # bytes of a key
TIDIED = 3_600.0  # seconds after which what is too old goes, though nobody asks
_TOLD = (b"content-type", b"x-studiolo-")  # headers that belong to the answer, not to the request
_FINAL = (400, 422)  # errors that would be the same again

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _UnderWay:
    """A request that came with a key: its digest, and the look whether it was answered before."""

    digest: str
    before: asyncio.Future[Kept | None]


class Replays:
    """The answers that the gateways of one workspace keep."""

    def __init__(self, path: Path, bounds: Bounds | None = None, *, clock: Callable[[], float] = time.time) -> None:
        self._store = ReplayStore(path, bounds or Bounds())
        self._clock = clock
        self._under_way: dict[tuple[str, str], _UnderWay] = {}

    @asynccontextmanager
    async def first(self, token_id: str, key: bytes, request: bytes, recorder: Recorder) -> AsyncIterator[Kept | None]:
        """Give the answer of the first time; None where this is it, and its answer is kept before it leaves.

        A Refusal 422 where the key came with another request, 409 where the first is still under way.
        """
        if len(key) > LONGEST or not key:
            raise Refusal(400, f"an Idempotency-Key has 1 to {LONGEST} characters", code="invalid_idempotency_key")
        name, digest = (token_id, sha256(key).hexdigest()), sha256(request).hexdigest()
        known = self._under_way.get(name)
        asked = known or _UnderWay(digest, asyncio.ensure_future(self._before(name)))
        self._under_way[name] = asked
        try:
            before = await asyncio.shield(asked.before)
            if (before.digest if before else asked.digest) != digest:
                raise Refusal(422, "this Idempotency-Key came with another request", code="idempotency_key_reused")
            if before is None and known:
                text, later = "a request with this Idempotency-Key is under way", {"retry-after": "1"}
                raise Refusal(409, text, code="idempotency_conflict", headers=later)
            recorder.settled = partial(self._keep, name, digest) if before is None else None
            yield before
        finally:
            recorder.settled = None
            if not known:
                del self._under_way[name]

    async def tend_on(self) -> None:
        """Let go of what is too old, for as long as the gateway lives."""
        while True:
            try:
                await asyncio.to_thread(self._store.tidy, now=self._clock())
            except StudioloError as error:
                log.warning("answers to Idempotency-Keys are tidied later: %s", error)
            await asyncio.sleep(TIDIED)

    def close(self) -> None:
        """Let go of the file."""
        self._store.close()

    async def _before(self, name: tuple[str, str]) -> Kept | None:
        return await asyncio.to_thread(self._store.get, *name, now=self._clock())

    async def _keep(self, name: tuple[str, str], digest: str, recorder: Recorder) -> None:
        kept = Kept(digest=digest, status=recorder.status, headers=recorder.headers, body=b"".join(recorder.parts))
        try:
            await asyncio.to_thread(self._store.put, *name, kept, now=self._clock())
        except StudioloError as error:  # the client shall have what was made for it
            log.error("an answer cannot be told again to its Idempotency-Key: %s", error)


class Recorder:
    """Where an answer goes that may have to be told again; one that would be the same again is settled on its way."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0
        self.headers: list[tuple[str, str]] = []
        self.parts: list[bytes] = []
        self.settled: Callable[[Recorder], Awaitable[None]] | None = None
        self._streams = False

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        """Pass on and remember."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            told = [(name, value) for name, value in message["headers"] if name.startswith(_TOLD)]
            self.headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in told]
            self._streams = any(value.startswith("text/event-stream") for _, value in self.headers)
        elif not self._streams:
            self.parts.append(message.get("body", b""))
            whole = not message.get("more_body")
            if self.settled and whole and (self.status < 300 or self.status in _FINAL):
                await self.settled(self)
        await self._send(message)

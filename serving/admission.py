"""Who and what is let in: the right host, a living token, a JSON body of bearable size."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import time
from collections.abc import Mapping
from typing import Any

import orjson
from starlette.types import Receive

from serving.openai_errors import Refusal
from workspace.errors import Denied
from workspace.tokens import TokenRecord, Tokens

LOOPBACK = ("127.0.0.1", "localhost", "::1")
FRESH = 2.0  # seconds for which a token that was good is believed
REMEMBERED = 1_024  # tokens
FOR = b"x-studiolo-for"  # the id of the token that the workspace's own jobs ask for
_HOST = re.compile(rb"(?:\[(?P<v6>[0-9a-fA-F:]+)\]|(?P<name>[^:\[\]]+))(?::\d{1,5})?")

Headers = Mapping[bytes, bytes]


class Gone(Exception):
    """The client left while it still spoke."""


class Keys:
    """The tokens of a workspace, each looked up at most every other second, known here by its hash only."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self._good: dict[bytes, tuple[TokenRecord, float]] = {}
        self._asking: dict[bytes, asyncio.Task[TokenRecord]] = {}

    async def check(self, headers: Headers) -> TokenRecord:
        """Return who asks; whatever is wrong with the token, the answer is the same.

        A token of role admin may ask for another, whose rights and limits hold then: so do the jobs of batches.
        """
        token, named = _given(headers), headers.get(FOR, b"")
        digest = hashlib.sha256(token + b"\0" + named).digest()
        record, until = self._good.get(digest, (None, 0.0))
        left = until - time.monotonic()
        if record is not None and left > 0 and record.valid:
            if left < FRESH / 2:
                self._look_up(digest, token, named)  # before anybody has to wait for it
            return record
        if not token:
            raise _denied()
        try:
            return await asyncio.shield(self._look_up(digest, token, named))
        except Denied:
            raise _denied() from None

    def _look_up(self, digest: bytes, token: bytes, named: bytes) -> asyncio.Task[TokenRecord]:
        """Return the look-up of a token; all who ask for the same one share it."""
        task = self._asking.get(digest)
        if task is None:
            task = self._asking[digest] = asyncio.create_task(self._found(digest, token, named))
            task.add_done_callback(lambda done: self._looked_up(digest, done))
        return task

    def _looked_up(self, digest: bytes, done: asyncio.Task[TokenRecord]) -> None:
        del self._asking[digest]
        if not done.cancelled():
            done.exception()  # whoever waits is told; nobody may

    async def _found(self, digest: bytes, token: bytes, named: bytes) -> TokenRecord:
        until = time.monotonic() + FRESH
        try:
            record = await asyncio.to_thread(self._tokens.check, token.decode("latin-1"))
            if named:
                record = await asyncio.to_thread(self._tokens.stand_in, record, named.decode("latin-1"))
        except Denied:
            self._good.pop(digest, None)
            raise
        if len(self._good) >= REMEMBERED:
            self._good.clear()
        self._good[digest] = record, until
        return record


def check_host(headers: Headers) -> None:
    """Refuse a request for another host: a web page whose name was made to point here (DNS rebinding)."""
    match = _HOST.fullmatch(headers.get(b"host", b""))
    name = (match["v6"] or match["name"]).decode("latin-1").lower() if match else ""
    if name not in LOOPBACK:
        raise Refusal(421, f"this gateway answers for {', '.join(LOOPBACK)} only", code="misdirected_request")


async def read_json(headers: Headers, receive: Receive, *, limit: int) -> tuple[bytes, dict[str, Any]]:
    """Return the body as it came and as the object it is."""
    kind = headers.get(b"content-type", b"").split(b";")[0].strip().lower()
    if kind != b"application/json":
        raise Refusal(415, "the body must be JSON: content-type application/json", code="unsupported_media_type")
    raw = await read_raw(headers, receive, limit=limit)
    try:
        value = orjson.loads(raw)
    except ValueError:  # or a number or half an emoji that only the standard library takes
        try:
            value = json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise Refusal(400, f"the body is not valid JSON: {error}", code="invalid_json") from None
    if not isinstance(value, dict):
        raise Refusal(400, "the body must be a JSON object", code="invalid_json")
    return raw, value


async def read_raw(headers: Headers, receive: Receive, *, limit: int) -> bytes:
    """Return the body as it came, of whatever kind."""
    stated = headers.get(b"content-length", b"0")
    too_large = Refusal(
        413, f"the body may have {limit:,} bytes at most", code="body_too_large", headers={"connection": "close"}
    )
    if stated.isdigit() and int(stated) > limit:
        raise too_large
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Gone
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > limit:
            raise too_large
        if not message.get("more_body"):
            return b"".join(parts)


def _given(headers: Headers) -> bytes:
    """Return the token as OpenAI's clients send it, or Anthropic's."""
    scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
    return token.strip() if scheme.lower() == b"bearer" else headers.get(b"x-api-key", b"").strip()


def _denied() -> Refusal:
    return Refusal(
        401,
        "a valid token is needed: Authorization: Bearer TOKEN",
        code="invalid_api_key",
        headers={"www-authenticate": "Bearer"},
    )

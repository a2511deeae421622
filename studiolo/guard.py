"""The guard before our HTTP services: who may speak, from where, and how much. Deny by default, answer always alike."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any, TypeAlias

from anyio.to_thread import run_sync

from workspace.errors import Denied

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Message, Receive, Send], Awaitable[None]]

LARGEST_BODY = 10_000_000
REMEMBERED = 2.0  # seconds for which a token that was good is not looked up again; revoking acts within them
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_HOSTS = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?")
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
)


class Guard:
    """Wrap an ASGI app: known Host, own Origin, a valid token, a bounded body; `open_paths` need no token.

    A token comes as `Authorization: Bearer …`; where `cookie` is named, the studio's login cookie will do as well. A
    request that changes something and carries only the cookie must say by its Origin that it is from this service.
    `scoped` are checks of their own for what lies under a path: whoever passes them passes none of the others.
    """

    def __init__(
        self,
        app: App,
        *,
        check: Callable[[str], object],
        port: int,
        cookie: str = "",
        check_cookie: Callable[[str], object] | None = None,
        open_paths: tuple[str, ...] = ("/health",),
        scoped: Mapping[str, Callable[[str], object]] | None = None,
        largest_body: int = LARGEST_BODY,
    ) -> None:
        self._app = app
        self._check = check
        self._cookie = cookie
        self._check_cookie = check_cookie
        self._open_paths = open_paths
        self._scoped = scoped or {}
        self._largest_body = largest_body
        self._origins = re.compile(rf"http://(127\.0\.0\.1|localhost|\[::1\]):{port}")
        self._known: dict[str, float] = {}

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer the request, or refuse it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}
        refusal = await self._refusal(scope, headers)
        if refusal is not None:
            await _refuse(scope, send, *refusal)
            return
        await self._app(scope, _bounded(receive, self._largest_body), _with_headers(send))

    async def _refusal(self, scope: Message, headers: dict[str, str]) -> tuple[int, str] | None:
        if not _HOSTS.fullmatch(headers.get("host", "")):
            return 421, "this server answers to 127.0.0.1 and localhost only"
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > self._largest_body:
            return 413, f"a request may have at most {self._largest_body} bytes"
        origin = headers.get("origin")
        unsafe = scope["type"] == "websocket" or scope["method"] not in SAFE
        if unsafe and origin is not None and not self._origins.fullmatch(origin):
            return 403, "this page may not speak to this server"
        if scope["path"] in self._open_paths:
            return None
        bearer = _bearer(headers)
        if not await self._admits(scope["path"], headers, bearer):
            return 401, "a valid token is needed: Authorization: Bearer <token>"
        if unsafe and not bearer and origin is None:
            return 403, "a request that changes something needs an Origin or a Bearer token"
        return None

    async def _admits(self, path: str, headers: dict[str, str], bearer: str) -> bool:
        if bearer:
            under = next((each for each in self._scoped if path.startswith(each)), "")
            return await self._opens(self._scoped.get(under, self._check), bearer, under)
        given = _cookie(headers, self._cookie)
        return bool(given) and self._check_cookie is not None and await self._opens(self._check_cookie, given, "")

    async def _opens(self, check: Callable[[str], object], secret: str, under: str) -> bool:
        key = hashlib.sha256(f"{under} {secret}".encode()).hexdigest()
        if self._known.get(key, 0.0) > time.monotonic():
            return True
        try:
            await run_sync(check, secret)
        except Denied:
            return False
        if len(self._known) > 1000:
            self._known.clear()
        self._known[key] = time.monotonic() + REMEMBERED
        return True


def _bearer(headers: dict[str, str]) -> str:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _cookie(headers: dict[str, str], name: str) -> str:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(name)
    except CookieError:
        return ""
    return found.value if found else ""


def _bounded(receive: Receive, largest: int) -> Receive:
    seen = 0

    async def bounded() -> Message:
        nonlocal seen
        message = await receive()
        if message["type"] == "http.request":
            seen += len(message.get("body", b""))
            if seen > largest:
                return {"type": "http.disconnect"}
        return message

    return bounded


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            names = {name.lower() for name, _ in message.get("headers", ())}
            more = [pair for pair in _HEADERS if pair[0] not in names]
            message = {**message, "headers": [*message.get("headers", ()), *more]}
        await send(message)

    return sending


async def _refuse(scope: Message, send: Send, status: int, words: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": words[:100]})
        return
    body = json.dumps({"error": {"message": words}}).encode()
    headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store"), *_HEADERS]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})

"""The door of the studio: whoever has not shown a token meets the login page, on every route and websocket."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from urllib.parse import quote, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.login_page import bounce_page, login_page
from studiolo.sessions import LIFETIME, Sessions
from workspace.errors import Denied

HOSTS = ("127.0.0.1", "localhost", "::1")
OPEN = ("/health", "/login")  # the only two paths that answer strangers
_INLINE = re.compile(r"<script>(.*?)</script>", re.DOTALL)
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")

# Nothing is fetched from elsewhere, so that a model's answer cannot make the browser call home. Streamlit sets
# styles from scripts ('unsafe-inline' for styles) and loads our graph as a module from a blob.
_POLICY = (
    "default-src 'self'; script-src 'self' blob: 'wasm-unsafe-eval' {scripts}; style-src 'self' 'unsafe-inline' blob:; "
    "img-src 'self' data: blob:; font-src 'self' data:; media-src 'self' data: blob:; connect-src 'self' data: blob:; "
    "worker-src 'self' blob:; frame-src 'self'; object-src 'none'; base-uri 'self'; form-action 'self'; "
    "frame-ancestors 'none'"
)


def content_security_policy(page: str) -> str:
    """Return the policy under which a page works: of the scripts within it, those that it has now and no other."""
    hashes = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in _INLINE.findall(page))
    return _POLICY.format(scripts=" ".join(f"'sha256-{each}'" for each in hashes))


@dataclass(frozen=True, slots=True)
class Door:
    """Middleware around the whole studio. It reads the cookie `cookie`; only `OPEN` is reached without it."""

    app: ASGIApp
    sessions: Sessions
    cookie: str
    policy: str

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        headers = Headers(scope=scope)
        if scope["type"] == "websocket":
            return await self._websocket(scope, receive, send, headers)
        answer = self._refusal(scope, headers) or await self._login_wanted(scope, headers)
        return await (answer or self.app)(scope, receive, _guarded(send, self.policy))

    async def _websocket(self, scope: Scope, receive: Receive, send: Send, headers: Headers) -> None:
        allowed = known_host(headers) and same_origin(headers) and await self._is_known(headers)
        if not allowed:
            await receive()
            return await send({"type": "websocket.close", "code": 4403, "reason": "log in again"})

        async def while_known() -> Message:
            message = await receive()
            if message["type"] == "websocket.receive" and not await self._is_known(headers):
                await send({"type": "websocket.close", "code": 4403, "reason": "log in again"})
                return {"type": "websocket.disconnect", "code": 4403}
            return message

        return await self.app(scope, while_known, send)

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        if not known_host(headers):
            return PlainTextResponse("The studio answers to 127.0.0.1 and localhost only.\n", 421)
        if scope["method"] not in _SAFE_METHODS and not same_origin(headers):
            return PlainTextResponse("This request does not come from the studio.\n", 403)
        return None

    async def _login_wanted(self, scope: Scope, headers: Headers) -> Response | None:
        if scope["path"] in OPEN or await self._is_known(headers):
            return None
        if scope["method"] != "GET" or "text/html" not in headers.get("accept", ""):
            return PlainTextResponse("Log in at /login first.\n", 403)
        wanted = asked_for(scope)
        # A Strict cookie stays at home when a link elsewhere leads here; once the page is ours it is sent.
        if headers.get("sec-fetch-site") == "cross-site":
            return HTMLResponse(bounce_page(wanted), 200)
        return HTMLResponse(login_page(wanted), 401)

    async def _is_known(self, headers: Headers) -> bool:
        try:
            await run_in_threadpool(self.sessions.holder, read_cookie(headers, self.cookie))
        except Denied:
            return False
        return True


@dataclass(frozen=True, slots=True)
class Login:
    """The routes in and out: `GET /login?token=…&next=…`, the form's `POST /login`, and `/logout`."""

    sessions: Sessions
    cookie: str

    async def enter(self, request: Request) -> Response:
        """Exchange a token for a cookie and go to the page that was asked for."""
        given = request.query_params
        if request.method == "POST":
            given = await request.form(max_files=0, max_fields=4)  # type: ignore[assignment]
        wanted = local_path(str(given.get("next", "/")))
        if not (token := str(given.get("token", ""))):
            return HTMLResponse(login_page(wanted))
        try:
            value = await run_in_threadpool(self.sessions.open, token)
        except Denied as error:
            return HTMLResponse(login_page(wanted, error), 401)
        answer = RedirectResponse(wanted, 303)
        answer.set_cookie(self.cookie, value, max_age=int(LIFETIME), httponly=True, samesite="strict", path="/")
        return answer

    async def leave(self, _request: Request) -> Response:
        """Forget the session in this browser."""
        answer = RedirectResponse("/login", 303)
        answer.delete_cookie(self.cookie, path="/", httponly=True, samesite="strict")
        return answer


def known_host(headers: Headers) -> bool:
    """Whether the request names this machine, and not some name made to point here."""
    try:
        return urlsplit(f"//{headers.get('host', '')}").hostname in HOSTS
    except ValueError:
        return False


def same_origin(headers: Headers) -> bool:
    """Whether the page that asks is one of ours; a browser always says where it comes from."""
    return headers.get("origin", "") in (f"http://{headers['host']}", f"https://{headers['host']}")


def read_cookie(headers: Headers, name: str) -> str:
    """Return the value of a cookie, or nothing."""
    try:
        cookies = SimpleCookie(headers.get("cookie", ""))
    except CookieError:
        return ""
    return cookies[name].value if name in cookies else ""


def asked_for(scope: Scope) -> str:
    """Return the path and query of a request, to come back to after login."""
    query = scope["query_string"].decode("latin-1")
    return local_path(quote(scope["path"]) + (f"?{query}" if query else ""))


def local_path(wanted: str) -> str:
    """Return the path when it is one of ours, else the first page: `local_path("//evil.test") == "/"`."""
    parts = urlsplit(wanted.replace("\\", "/"))
    ours = wanted.startswith("/") and not wanted.startswith("//") and not parts.netloc and not parts.scheme
    plain = not any(ord(letter) < 33 or letter == "\\" for letter in wanted)
    return wanted if ours and plain and parts.path not in ("/login", "/logout") else "/"


def _guarded(send: Send, policy: str) -> Send:
    """Add to every answer the headers that keep browsers strict; an answer with a policy of its own keeps it."""

    async def guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers.setdefault("content-security-policy", policy)
            headers["x-content-type-options"] = "nosniff"
            headers["referrer-policy"] = "same-origin"  # a form's POST says where it comes from
            headers["cross-origin-opener-policy"] = "same-origin"
        await send(message)

    return guarded

"""The faithful local Hub of tests: our own Hub server over real HTTP, with a content network beside it, and faults."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import uvicorn

from catalog.hub_server.app import Doors, HubServer
from catalog.hub_server.files import Cdn
from catalog.hub_server.limits import GENEROUS, RateLimits
from catalog.hub_server.shelf import Repositories

Kind = Literal[
    "status", "slow", "truncated", "wrong_length", "wrong_digest", "redirect", "loop", "html", "elsewhere", "kill"
]
TOKENS = {"hf_alice": "alice", "hf_bob": "bob"}


@dataclass(slots=True)
class Fault:
    """What goes wrong with the next `times` requests whose path holds `path`, the first `after` of them excepted."""

    path: str
    kind: Kind
    times: int = 1
    status: int = 503
    to: str = ""
    seconds: float = 0.0
    after: int = 0


@dataclass(slots=True)
class LocalHub:
    """A Hub that runs: `address`, what it has, what goes wrong, and what it was asked."""

    address: str
    shelf: Repositories
    limits: RateLimits
    faults: list[Fault] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    # Of each request the host, and whether it came with a token; and what parts of files were asked for.
    authorised: list[tuple[str, bool]] = field(default_factory=list)
    ranges: list[str] = field(default_factory=list)


@contextmanager
def local_hub(shelf: Repositories | None = None, *, limits: RateLimits | None = None) -> Iterator[LocalHub]:
    """Run a Hub in a thread: `127.0.0.1` is the Hub, `localhost` the content network."""
    hub = LocalHub("", shelf or Repositories(), limits or RateLimits(GENEROUS))
    cdn = Cdn()
    server_app = HubServer(hub.shelf, Doors(who=TOKENS.get), hub.limits, cdn)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await server_app(scope, receive, send)
            return
        await _answer(hub, server_app, scope, receive, send)

    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="critical", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    hub.address = f"http://127.0.0.1:{port}"
    object.__setattr__(cdn, "address", f"http://localhost:{port}")
    try:
        yield hub
    finally:
        server.should_exit = True
        thread.join(10)


async def _answer(hub: LocalHub, app: Any, scope: Any, receive: Any, send: Any) -> None:
    path = scope["path"]
    query = scope["query_string"].decode()
    hub.asked.append(f"{scope['method']} {path}" + (f"?{query}" if query else ""))
    headers = dict(scope["headers"])
    hub.authorised.append((headers[b"host"].decode(), b"authorization" in headers))
    if b"range" in headers:
        hub.ranges.append(headers[b"range"].decode())
    fault = _due(hub, path)
    if fault is None:
        await app(scope, receive, send)
        return
    said: list[Any] = []

    async def keep(message: Any) -> None:
        said.append(message)

    await app(scope, receive, keep)
    start, body = said[0], b"".join(each.get("body", b"") for each in said[1:])
    await _wrong(fault, hub, (start, body), scope, send)


def _due(hub: LocalHub, path: str) -> Fault | None:
    for fault in hub.faults:
        if fault.path in path and fault.times:
            if fault.after:
                fault.after -= 1
                continue
            fault.times -= 1
            return fault
    return None


async def _wrong(fault: Fault, hub: LocalHub, answer: tuple[Any, bytes], scope: Any, send: Any) -> None:
    import asyncio

    start, body = answer
    headers = {name.lower(): value for name, value in start["headers"]}
    if fault.kind == "status":
        start["status"], body = fault.status, b'{"error":"no"}'
        headers.pop(b"ratelimit")
    elif fault.kind == "html":
        headers[b"content-type"], body = b"text/html", b"<html><body>Sign in to this network</body></html>"
    elif fault.kind == "redirect":
        start["status"], headers[b"location"], body = 302, fault.to.encode(), b""
    elif fault.kind == "loop":
        address = f"{hub.address}{scope['path']}?{scope['query_string'].decode()}"
        headers[b"link"] = f'<{address}>; rel="next"'.encode()
    elif fault.kind == "elsewhere":
        headers[b"link"] = f'<{fault.to}>; rel="next"'.encode()
    elif fault.kind == "wrong_digest":
        body = bytes(byte ^ 1 for byte in body)
    elif fault.kind == "wrong_length":
        body = body + b"more than was said"
    length = len(body) * 2 + 10 if fault.kind == "truncated" else len(body)
    if scope["method"] != "HEAD":
        headers[b"content-length"] = str(length).encode()
    await send(start | {"headers": [*headers.items()]})
    if fault.kind == "slow":
        await asyncio.sleep(fault.seconds)
    await send({"type": "http.response.body", "body": body if fault.kind != "kill" else body[: len(body) // 2]})

"""The gateway: an OpenAI-compatible door on 127.0.0.1 to every model and endpoint of the workspace.

`python -m serving.gateway --home H --port P`
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from serving.admission import Gone, Headers, Keys, check_host, read_json
from serving.forward import LEFT, Call, Limits, forward, headers_of
from serving.openai_errors import Refusal, refusal
from serving.readiness import Engines
from serving.replicas import living
from serving.routing import Routes, choose, described, shown
from workspace.errors import StudioloError
from workspace.home import Workspace

FORWARDED = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings")
LISTED = ("/health", "/v1/models")
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")

log = logging.getLogger(__name__)


def create_app(workspace: Workspace, *, limits: Limits | None = None) -> ASGIApp:
    """Return the gateway of a workspace as an ASGI application; the `openai` client is its natural caller."""
    return Door(workspace, limits or Limits())


class Door:
    """What lives between requests: the tokens seen, the endpoints known, the engines that run."""

    def __init__(self, workspace: Workspace, limits: Limits) -> None:
        self._workspace = workspace
        self._limits = limits
        self._keys = Keys(workspace.tokens)
        self._routes = Routes(workspace)
        self._engines = Engines(workspace, patience=limits.loading)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; every error leaves in OpenAI's shape."""
        if scope["type"] != "http":
            return
        headers: Headers = dict(scope["headers"])
        call = Call(id=_request_id(headers), path=scope["path"], token_id="")
        try:
            check_host(headers)
            await self._answer(call, scope["method"], headers, receive, send)
        except StudioloError as error:
            await _refuse(call, refusal(error), send)
        except Exception:
            log.exception("request %s failed", call.id)
            if call.begun:
                raise  # the server cuts the connection, so that half an answer is not taken for a whole one
            await _refuse(call, Refusal(500, "the gateway failed; its log says why", code="server_error"), send)

    async def _answer(self, call: Call, method: str, headers: Headers, receive: Receive, send: Send) -> None:
        if call.path == "/health" and method == "GET":
            await _send_json(call, await self._health(), send)
            return
        call.token_id = (await self._keys.check(headers)).id
        if call.path in FORWARDED:
            _require(method, "POST")
            await self._forward(call, headers, receive, send)
        elif call.path == "/v1/models":
            _require(method, "GET")
            known = await self._routes.current()
            entries = [described(known, name) for name in shown(known)]
            await _send_json(call, {"object": "list", "data": entries}, send)
        elif call.path.startswith("/v1/models/"):
            _require(method, "GET")
            name = call.path.removeprefix("/v1/models/")
            await _send_json(call, described(await self._routes.current(), name), send)
        else:
            raise Refusal(404, f"no route {call.path}", code="unknown_url")

    async def _health(self) -> dict[str, Any]:
        running = await asyncio.to_thread(living, self._workspace.home)
        states = self._engines.states
        engines = [{"model": each.model, "pid": each.pid, "state": states.get(each.key, "running")} for each in running]
        return {"status": "ok", "service": "gateway", "engines": engines}

    async def _forward(self, call: Call, headers: Headers, receive: Receive, send: Send) -> None:
        try:
            call.body, call.request = await read_json(headers, receive, limit=self._limits.body)
            name = call.request.get("model")
            if not isinstance(name, str) or not name:
                raise Refusal(400, "a request names its model", code="missing_required_parameter", param="model")
            deployment = choose(await self._routes.current(), name)
            await _unless_gone(call, receive, lambda: forward(call, deployment, self._engines, send, self._limits))
        except Gone:
            call.status, call.error = LEFT, "client_left"
        except StudioloError as error:
            told = refusal(error)
            call.status, call.error = told.status, told.code
            await _refuse(call, told, send)
        finally:
            self._workspace.spool.append("request", call.row(), event_id=call.id)


async def _unless_gone(call: Call, receive: Receive, work: Callable[[], Awaitable[None]]) -> None:
    """Do the work, but end it at once wherever it stands when the client hangs up."""
    task = asyncio.current_task()
    left = False

    def leave(watch: asyncio.Task[None]) -> None:
        nonlocal left
        if task and not watch.cancelled() and not call.answered:
            left = True
            task.cancel()

    watch = asyncio.create_task(_hang_up(receive))
    watch.add_done_callback(leave)
    try:
        await work()
    except asyncio.CancelledError:
        if not left or not task:
            raise  # the gateway itself is told to stop
        task.uncancel()
        call.status, call.error = LEFT, "client_left"
    finally:
        watch.cancel()


async def _hang_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _require(method: str, allowed: str) -> None:
    if method != allowed:
        raise Refusal(405, f"this route takes {allowed}", code="method_not_allowed", headers={"allow": allowed})


def _request_id(headers: Headers) -> str:
    given = headers.get(b"x-request-id", b"")
    return given.decode() if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


async def _send_json(call: Call, value: Any, send: Send) -> None:
    await _send(call, 200, json.dumps(value).encode(), send)


async def _refuse(call: Call, told: Refusal, send: Send) -> None:
    extra = [(name.encode(), value.encode("latin-1", "replace")) for name, value in told.headers.items()]
    await _send(call, told.status, told.body, send, extra)


async def _send(
    call: Call, status: int, body: bytes, send: Send, extra: list[tuple[bytes, bytes]] | None = None
) -> None:
    length = (b"content-length", b"%d" % len(body))
    headers = [*headers_of(call), (b"content-type", b"application/json"), length, *(extra or [])]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


if __name__ == "__main__":
    from serving.service import main

    raise SystemExit(main())

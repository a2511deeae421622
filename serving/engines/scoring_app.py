"""The HTTP of a scoring engine: /score and /swagger.json as Azure ML's inference server has them, and /health."""

from __future__ import annotations

import asyncio
import base64
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from serving.engines.scoring_spec import ScoringSpec
from serving.engines.scoring_swagger import swagger
from serving.engines.torch import listen
from serving.engines.workers import Answered, Asked, Workers
from serving.kept_traffic import Keeper
from workspace.errors import StudioloError

HOP_BY_HOP = frozenset({"connection", "transfer-encoding", "keep-alive", "content-length", "server", "date"})
CLOSED = 499  # what proxies log when the client has gone; nobody reads it
RAW_METHODS = ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]


def create_app(spec: ScoringSpec, workers: Workers) -> Starlette:
    """Return the application; its workers have been started."""

    async def live(_: Request) -> Response:
        return PlainTextResponse("Healthy")

    async def health(_: Request) -> Response:
        counts = {"active": workers.active, "waiting": workers.waiting}
        return JSONResponse({"status": "ok", "model": spec.deployment, "task": "score", **counts})

    async def describe(request: Request) -> Response:
        version = 3 if request.query_params.get("version", "2").startswith("3") else 2
        return JSONResponse(swagger(spec, workers.about, version=version))

    async def score(request: Request) -> Response:
        asked = _asked(request, await request.body())
        if asked.method != "POST" and not workers.about.get("raw"):
            return PlainTextResponse("this route takes POST", status_code=405, headers={"allow": "POST"})
        work = asyncio.create_task(workers.ask(asked))
        gone = asyncio.create_task(_gone(request))
        await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
        gone.cancel()
        if not work.done():
            work.cancel()  # one that still waits for a process needs none any more
            return Response(status_code=CLOSED)
        try:
            return _response(await work)
        except StudioloError as error:
            return PlainTextResponse(str(error), status_code=500)

    routes = [
        Route("/", live),
        Route("/health", health),
        Route("/swagger.json", describe),
        Route("/score", score, methods=RAW_METHODS),
        Route("/invocations", score, methods=["POST"]),
    ]

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        workers.stop()

    return Starlette(routes=routes, lifespan=lifespan)


def _asked(request: Request, body: bytes) -> Asked:
    """The request as the client sent it to the gateway, which tells of it in a header, or as it came here."""
    method, query, headers = request.method, request.url.query, dict(request.headers)
    if told := headers.pop("x-studiolo-request", ""):
        given = json.loads(base64.b64decode(told))
        method, query = given["method"], given["query"]
        headers = {**given["headers"], "x-request-id": headers.get("x-request-id", "")}
    headers.pop("authorization", None)
    return Asked(method, request.url.path + (f"?{query}" if query else ""), headers, body)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _response(answered: Answered) -> Response:
    headers = {name: value for name, value in answered.headers.items() if name not in HOP_BY_HOP}
    return Response(answered.body, answered.status, headers)


def run(spec_file: Path, path: Path) -> int:
    """Load, then listen on the unix socket `path` until SIGTERM; once it answers, the engine is ready."""
    # uvicorn ends its connections on SIGTERM and then raises it again: this way the socket is removed as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        asyncio.run(_serve(ScoringSpec.read(spec_file), path))
    except StudioloError as error:
        print(f"{error}\n{error.hint or ''}".strip(), file=sys.stderr)  # noqa: T201 (the edge)
        return error.exit_code
    return 0


async def _serve(spec: ScoringSpec, path: Path) -> None:
    import uvicorn

    listener = listen(path)
    try:
        with Keeper.of(spec.home, spec.endpoint, spec.deployment, spec.collected) as keeper:
            workers = Workers(spec, collect=keeper.take)
            try:
                await workers.start()
                options: dict[str, Any] = {"log_level": "warning", "access_log": False, "timeout_graceful_shutdown": 5}
                server = uvicorn.Server(uvicorn.Config(create_app(spec, workers), **options))
                listener.listen(128)
                await server.serve(sockets=[listener])
            finally:
                workers.stop()
    finally:
        listener.close()
        path.unlink(missing_ok=True)

"""MLflow's own server on the workspace's runs, behind the guard, and the loop that feeds it.

One process does both because importing MLflow costs seconds and 170 MB: here it is paid once. `mlflow server` would
pay it twice (a parent and a worker) and would let in every process of this machine.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import threading
import time
from pathlib import Path
from typing import Any

import uvicorn

from studiolo import eval_traces, request_traces, traces
from studiolo.guard import Guard
from studiolo.services import HOST
from studiolo.sessions import Sessions
from workspace import tracking
from workspace.errors import MissingExtra, StudioloError
from workspace.home import Workspace
from workspace.paths import write_atomically
from workspace.processes import own_identity
from workspace.settings import Settings

EVERY = 2.0  # seconds between two looks for runs that changed
LARGEST_UPLOAD = 10_000_000_000  # model weights go through here
PROXIED = "mlflow-artifacts:/"  # what clients log goes through this server
_log = logging.getLogger("studiolo.tracking_server")


def create_app(workspace: Workspace, *, port: int) -> Guard:
    """Return MLflow's pages and API over the workspace's runs; every path but /health needs a token."""
    uri = tracking.tracking_uri(workspace)
    app = _elsewhere(uri) if uri.startswith("http") else _mlflow(uri, tracking.artifact_root(workspace), port)
    return Guard(
        app,
        check=workspace.tokens.check_whole,
        port=port,
        # Whoever is logged in at the studio may follow its links to here: a browser sends cookies to every port.
        cookie=f"studiolo_{workspace.settings.studio_port}",
        check_cookie=Sessions(workspace).holder,
        largest_body=LARGEST_UPLOAD,
    )


def _elsewhere(uri: str) -> Any:
    """Return the way to the server that MLFLOW_TRACKING_URI names: there the runs are."""
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import PlainTextResponse, RedirectResponse
    from starlette.routing import Route

    def health(_request: Request) -> PlainTextResponse:
        return PlainTextResponse("OK")

    def leave(_request: Request) -> RedirectResponse:
        return RedirectResponse(uri)

    return Starlette(routes=[Route("/health", health), Route("/{path:path}", leave)])


def _mlflow(uri: str, artifacts: Path, port: int) -> Any:
    artifacts.mkdir(mode=0o700, exist_ok=True)
    try:
        _configure(uri, artifacts, port)
        from mlflow.server.fastapi_app import app
        from mlflow.server.handlers import initialize_backend_stores
    except ImportError:
        raise MissingExtra("the MLflow server", hint="pip install 'studiolo[studio]'") from None
    initialize_backend_stores(uri, uri, PROXIED)
    return app


def _configure(uri: str, artifacts: Path, port: int) -> None:
    """Set what `mlflow server` would set for its worker; MLflow reads it from the environment only."""
    from mlflow.server import constants

    variables: dict[str, Any] = {
        constants.BACKEND_STORE_URI_ENV_VAR: uri,
        constants.REGISTRY_STORE_URI_ENV_VAR: uri,
        constants.ARTIFACT_ROOT_ENV_VAR: PROXIED,
        constants.ARTIFACTS_DESTINATION_ENV_VAR: artifacts.as_uri(),
        constants.SERVE_ARTIFACTS_ENV_VAR: "true",
        "_MLFLOW_IN_JOB_EXECUTOR": "false",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_SERVER_ALLOWED_HOSTS": f"{HOST}:{port},localhost:{port}",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
    }
    os.environ.update(variables)


def feed(workspace: Workspace, stop: threading.Event) -> None:
    """Carry runs and traces that are new into MLflow, until `stop`; what cannot be carried now is carried later."""
    while True:
        try:
            tracking.carry(workspace)
            traces.carry(workspace)
            eval_traces.carry(workspace)
            request_traces.carry(workspace)
            if traces.names_collector(os.environ):  # without text, as the rows are
                request_traces.carry(workspace, to="otlp")
        except StudioloError as error:
            _log.warning("%s", error)
        if stop.wait(EVERY):
            return


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(prog="studiolo.tracking_server")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--idle", type=float, default=0.0, help="seconds without a request after which it ends")
    arguments = parser.parse_args()
    with Workspace.open(arguments.home, settings=Settings.from_environment()) as workspace:
        asked = _Asked(create_app(workspace, port=arguments.port))
        server = uvicorn.Server(
            uvicorn.Config(
                asked, host=HOST, port=arguments.port,
                log_level="warning", server_header=False, timeout_graceful_shutdown=3,
            )
        )  # fmt: skip
        stop = threading.Event()
        loops = [threading.Thread(target=feed, args=(workspace, stop), name="feed")]
        if arguments.idle:
            loops.append(threading.Thread(target=_end_when_idle, args=(server, asked, arguments.idle, stop)))
        for loop in loops:
            loop.start()
        own = own_identity()
        record = {"pid": own.pid, "started_at": own.started_at, "port": arguments.port}
        write_atomically(workspace.home / "services" / "mlflow.json", json.dumps(record))  # jobs find us by it
        try:
            server.run()
        finally:
            stop.set()
            for loop in loops:
                loop.join(10.0)
    if not server.started:
        raise SystemExit(3)  # its log says why


class _Asked:
    """An app, and when it was last asked something; looking whether it lives is no question."""

    def __init__(self, app: Guard) -> None:
        self._app = app
        self.last = time.monotonic()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Hand the request on."""
        if scope.get("path") != "/health":
            self.last = time.monotonic()
        await self._app(scope, receive, send)


def _end_when_idle(server: uvicorn.Server, asked: _Asked, seconds: float, stop: threading.Event) -> None:
    while not stop.wait(min(seconds, EVERY)):
        if time.monotonic() - asked.last > seconds:
            server.should_exit = True
            return


if __name__ == "__main__":
    main()

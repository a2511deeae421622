"""The control plane: the REST API over the workspace, and the loop that brings in what processes left in the spool."""

from __future__ import annotations

import argparse
import logging
import threading
import time
from pathlib import Path
from typing import Annotated, Any

import uvicorn
from fastapi import FastAPI, Query, Request
from fastapi.responses import JSONResponse

from jobs import reconcile
from jobs.events import deliveries
from jobs.events.deliveries import Courier
from jobs.schedules import firing
from jobs.submit import Wishes
from serving import endpoints
from studiolo import nodes, rollout_scoring, triggers
from studiolo.guard import Guard
from studiolo.job_making import TRACKING
from studiolo.plain import plain
from studiolo.services import HOST
from studiolo.status import describe
from workspace.errors import Conflict, Denied, Invalid, NotFound, StudioloError, Unavailable
from workspace.home import Workspace
from workspace.settings import Settings

EVERY = 1.0  # seconds between two looks into the spool
_CLEANING = 3600.0  # seconds between two looks for what was told long ago
_CODES: tuple[tuple[type[StudioloError], int], ...] = (
    (NotFound, 404),
    (Invalid, 400),
    (Conflict, 409),
    (Denied, 403),
    (Unavailable, 503),
)
_log = logging.getLogger("studiolo.control")

Limit = Annotated[int, Query(ge=1, le=1000)]
Offset = Annotated[int, Query(ge=0)]


def create_app(workspace: Workspace, *, port: int) -> Guard:
    """Return the REST API of a workspace; every path but /health needs a token."""
    scoped = {triggers.PATH: workspace.tokens.check}  # whose token it may be, the route itself says
    return Guard(routes(workspace), check=workspace.tokens.check_whole, port=port, scoped=scoped)


def routes(workspace: Workspace) -> FastAPI:
    """Return the API without its guard."""
    app = FastAPI(title="Studiolo", docs_url=None, redoc_url=None, openapi_url="/api/openapi.json")
    app.exception_handler(StudioloError)(_answer_error)

    @app.get("/health")
    def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/api/status")
    def status() -> dict[str, Any]:
        return describe(workspace.home)

    @app.get("/api/runs")
    def runs(kind: str | None = None, limit: Limit = 100, offset: Offset = 0) -> JSONResponse:
        return JSONResponse(plain(workspace.runs.list(kind=kind, limit=limit, offset=offset)))

    @app.get("/api/runs/{run_id}")
    def run(run_id: str) -> JSONResponse:
        record = workspace.runs.get(run_id)
        return JSONResponse(plain(record) | {"history": plain(workspace.runs.metrics(record.run_id))})

    @app.get("/api/assets")
    def assets(kind: str | None = None, archived: bool = False, every_version: bool = False) -> JSONResponse:
        return JSONResponse(plain(workspace.assets.list(kind, archived=archived, every_version=every_version)))

    @app.get("/api/lineage/{node}")
    def lineage(node: str) -> JSONResponse:
        found = nodes.find(workspace, node)
        up, down = workspace.lineage.upstream(found), workspace.lineage.downstream(found)
        names = {found, *(name for edge in (*up, *down) for name in (edge.source, edge.target))}
        labels = {name: workspace.lineage.label(name) for name in sorted(names)}
        return JSONResponse({"node": found, "labels": labels, "upstream": plain(up), "downstream": plain(down)})

    @app.get("/api/endpoints")
    def list_endpoints() -> JSONResponse:
        return JSONResponse(plain(list(endpoints.served(workspace).values())))

    triggers.add(app, workspace)
    return app


def ingest(workspace: Workspace, stop: threading.Event) -> None:
    """Bring the spool into the database and close the runs of dead processes, every second until `stop`."""
    while not stop.wait(EVERY):
        try:
            workspace.spool.ingest()
            workspace.runs.settle()
        except StudioloError as error:
            # A disk that is full or a database that is busy: what waits in the spool waits on.
            _log.warning("%s", error)


def score(workspace: Workspace, stop: threading.Event) -> None:
    """Score what rollouts have laid aside, every other second until `stop`."""
    while not stop.wait(2 * EVERY):
        try:
            rollout_scoring.score_new(workspace)
        except StudioloError as error:
            _log.warning("rollouts are not scored: %s", error)


def fire(workspace: Workspace, stop: threading.Event) -> None:
    """Fire schedules that are due, every second until `stop`."""
    while not stop.wait(EVERY):
        try:
            firing.tick(workspace, time.time(), Wishes(tracking=TRACKING))
        except StudioloError as error:
            _log.warning("schedules are seen to later: %s", error)
        except Exception:  # noqa: BLE001
            # One schedule that meets a bug of ours is written down as failed; it must not stop all the others.
            _log.exception("a schedule could not be fired")


def tell(workspace: Workspace, stop: threading.Event) -> None:
    """Tell those whom event rules name, every second until `stop`."""
    courier, cleaned = Courier(workspace), 0.0
    while not stop.wait(EVERY):
        try:
            courier.tick(time.time())
            if time.monotonic() - cleaned > _CLEANING:
                deliveries.clean(workspace, time.time())
                cleaned = time.monotonic()
        except StudioloError as error:
            _log.warning("events are told later: %s", error)
        except Exception:  # noqa: BLE001
            # One event that meets a bug of ours is written down as dead; it must not stop all the others.
            _log.exception("an event could not be told")
    courier.close()


async def _answer_error(_request: Request, error: StudioloError) -> JSONResponse:
    code = next((code for kind, code in _CODES if isinstance(error, kind)), 500)
    return JSONResponse({"error": {"message": str(error), "hint": error.hint}}, status_code=code)


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(prog="studiolo.control")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    settings = Settings.from_environment()
    with Workspace.open(arguments.home, settings=settings) as workspace:
        stop = threading.Event()
        loops = [
            threading.Thread(target=work, args=(workspace, stop), name=work.__name__, daemon=True)
            for work in (ingest, score, fire, tell, reconcile.supervise)
        ]
        for loop in loops:
            loop.start()
        try:
            uvicorn.run(
                create_app(workspace, port=arguments.port), host=HOST, port=arguments.port,
                log_level="warning", server_header=False, timeout_graceful_shutdown=3,
            )  # fmt: skip
        finally:
            stop.set()
            for loop in loops:
                loop.join(10.0)


if __name__ == "__main__":
    main()

"""The gateway: an OpenAI-compatible door on 127.0.0.1 to every model and endpoint of the workspace.

`python -m serving.gateway --home H --port P`
"""

from __future__ import annotations

import logging
import random
import re

from starlette.types import Receive, Scope, Send

from serving.admission import Headers, Keys, check_host
from serving.api import messages
from serving.api.anthropic_errors import AnthropicErrors
from serving.backends import Backends
from serving.call import Call, Limits
from serving.exchange import GONE
from serving.idempotency import FILE as REPLAYS
from serving.idempotency import Replays
from serving.kept_calls import KeptCalls
from serving.meters import Meters
from serving.metrics import Metrics
from serving.mirror import Mirror
from serving.openai_errors import Refusal, refusal
from serving.plane import Plane
from serving.readiness import Engines
from serving.rollouts.watch import Watch
from serving.routes import table
from serving.routing import Routes
from serving.rows import Rows
from serving.visit import House, Visit
from workspace.errors import StudioloError
from workspace.home import Workspace

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")

log = logging.getLogger(__name__)


def create_app(workspace: Workspace, *, limits: Limits | None = None) -> Door:
    """Return the gateway of a workspace as an ASGI application; the `openai` client is its natural caller."""
    return Door(workspace, limits or Limits())


class Door:
    """What lives between requests: the tokens seen, the routes, the house behind them."""

    def __init__(self, workspace: Workspace, limits: Limits) -> None:
        self._keys = Keys(workspace.tokens)
        self._table = table()
        backends, rows = Backends(), Rows(workspace.spool)
        models = Routes(workspace)
        engines = Engines(
            workspace, patience=limits.loading, load=backends.load, active=backends.active, known=models.current
        )
        plane = Plane(engines=engines, backends=backends, limits=limits)
        self.house = House(
            workspace=workspace,
            limits=limits,
            models=models,
            engines=engines,
            plane=plane,
            rows=rows,
            mirror=Mirror(plane, rows),
            replays=Replays(workspace.home / REPLAYS),
            kept=KeptCalls(workspace.home),
            watch=Watch(workspace),
            meters=Meters(workspace),
            metrics=Metrics(),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; every error leaves in OpenAI's shape, or in Anthropic's on the paths of its clients."""
        if scope["type"] != "http":
            return
        headers: Headers = dict(scope["headers"])
        call = Call(id=_request_id(headers), path=scope["path"], token_id="")
        visit = Visit(
            house=self.house,
            call=call,
            method=scope["method"],
            headers=headers,
            receive=receive,
            send=AnthropicErrors(send, call.id) if call.path in messages.PATHS else send,
            query=scope["query_string"],
            exchange=scope.get("extensions", {}).get(GONE),
        )
        try:
            check_host(headers)
            await self._answer(visit)
        except StudioloError as error:
            await visit.refuse(refusal(error))
        except Exception:
            log.exception("request %s failed", call.id)
            if call.begun:
                raise  # the server cuts the connection, so that half an answer is not taken for a whole one
            await visit.refuse(Refusal(500, "the gateway failed; its log says why", code="server_error"))

    def close(self) -> None:
        """Write what is still to be written."""
        self.house.watch.close()
        self.house.meters.flush()
        self.house.rows.flush()
        self.house.kept.close()
        self.house.replays.close()

    async def _answer(self, visit: Visit) -> None:
        call = visit.call
        if not self._table.open(call.path, visit.method):
            call.key = await self._keys.check(visit.headers)
            call.token_id = call.key.id
        route, visit.values = self._table.find(call.path, visit.method)
        await route.answer(visit)


def _request_id(headers: Headers) -> str:
    given = headers.get(b"x-request-id", b"")
    return given.decode() if _REQUEST_ID.fullmatch(given) else f"{random.getrandbits(128):032x}"


if __name__ == "__main__":
    from serving.service import main

    raise SystemExit(main())

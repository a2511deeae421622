"""Firing schedules over HTTP: who may, with which parameters, and what is answered."""

from __future__ import annotations

import json
import re
import time
from typing import Annotated, Any

from anyio.to_thread import run_sync
from fastapi import FastAPI, Header, Request
from fastapi.responses import JSONResponse

from jobs.schedules import definition, firing
from jobs.schedules.store import SCOPE
from jobs.submit import Wishes
from studiolo.job_making import TRACKING
from workspace.errors import Denied, Invalid
from workspace.home import Workspace
from workspace.tokens import TokenRecord

PATH = "/api/triggers/"
_MAY = ("admin", "contributor")
_KEY = re.compile(r"[!-~]{1,200}")


def check(workspace: Workspace, token: str, name: str) -> TokenRecord:
    """Return who may fire a schedule: admins and contributors, and keys that were made for it."""
    holder = workspace.tokens.check(token)
    if holder.endpoints is None and holder.role in _MAY:
        return holder
    if f"{SCOPE}{name}" in (holder.endpoints or ()):
        return holder
    raise Denied("this token may not fire this schedule", hint=f"studiolo key create NAME --endpoint {SCOPE}{name}")


def add(app: FastAPI, workspace: Workspace) -> None:
    """Add the route to an API."""

    @app.post(PATH + "{name}", status_code=202)
    async def trigger(
        name: str, request: Request, idempotency_key: Annotated[str | None, Header()] = None
    ) -> JSONResponse:
        body = await request.body()
        token = request.headers.get("authorization", "").partition(" ")[2].strip()
        answer = await run_sync(_fire, workspace, name, token, body, idempotency_key)
        return JSONResponse(answer, status_code=202)


def _fire(workspace: Workspace, name: str, token: str, body: bytes, key: str | None) -> dict[str, Any]:
    holder = check(workspace, token, name)
    if key is not None and not _KEY.fullmatch(key):
        raise Invalid("the Idempotency-Key must be 1 to 200 visible characters")
    parameters = _parameters(body)
    # A key of one caller is none of another's.
    done, is_new = firing.trigger(
        workspace, name, parameters, now=time.time(), cause="http", wishes=Wishes(tracking=TRACKING),
        key=f"{holder.id}:{key}" if key else "",
    )  # fmt: skip
    return {"schedule": name, "job": done.job, "status": done.status, "replayed": not is_new}


def _parameters(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        raise Invalid("the body must be JSON", hint='{"inputs": {"rate": 0.1}}') from None
    definition.check_harmless(definition.check_parameters(found))
    return dict(found)

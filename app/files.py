"""What a run left behind, handed to the browser as text that can do nothing."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response

import studiolo
from workspace import StudioloError, Workspace

# A report is a page of its own origin: no scripts, no cookies, nothing loaded from anywhere.
_SANDBOX = "sandbox allow-popups; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'"


@dataclass(frozen=True, slots=True)
class Files:
    """`/files/<run>/<artifact>` serves an artifact; `.html` is shown in a sandbox, the rest is downloaded."""

    workspace: Workspace

    async def serve(self, request: Request) -> Response:
        """Answer with the artifact the path names."""
        run_id, name = request.path_params["run_id"], request.path_params["name"]
        try:
            path = await run_in_threadpool(studiolo.artifact, self.workspace, run_id, name)
        except StudioloError as error:
            return PlainTextResponse(f"{error}\n", 404)
        shown = path.suffix == ".html" and "download" not in request.query_params
        return FileResponse(
            path,
            filename=path.name,
            content_disposition_type="inline" if shown else "attachment",
            headers={"content-security-policy": _SANDBOX, "x-content-type-options": "nosniff"},
        )

"""What runs and jobs left behind, handed to the browser as text that can do nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response

import studiolo
from studiolo.asset_files import asset_file
from workspace import StudioloError, Workspace

# A report is a page of its own origin: no scripts, no cookies, nothing loaded from anywhere.
_SANDBOX = "sandbox allow-popups; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'"


@dataclass(frozen=True, slots=True)
class Files:
    """Artifacts of runs and files of data assets; `.html` of a run is shown in a sandbox, the rest is downloaded."""

    workspace: Workspace

    async def serve(self, request: Request) -> Response:
        """Answer `/files/<run>/<artifact>` with the artifact."""
        run_id, name = request.path_params["run_id"], request.path_params["name"]
        try:
            path = await run_in_threadpool(studiolo.artifact, self.workspace, run_id, name)
        except StudioloError as error:
            return PlainTextResponse(f"{error}\n", 404)
        return _file(path, shown=path.suffix == ".html" and "download" not in request.query_params)

    async def serve_data(self, request: Request) -> Response:
        """Answer `/data/<asset>/<file>` with the file, to be kept."""
        ref, name = request.path_params["ref"], request.path_params["name"]
        try:
            path = await run_in_threadpool(asset_file, self.workspace, ref, name)
        except StudioloError as error:
            return PlainTextResponse(f"{error}\n", 404)
        return _file(path, shown=False)


def data_address(ref: str, name: str) -> str:
    """Return where a file of a data asset is downloaded: `data_address("data:rows:1", "a b.csv")`."""
    return f"/data/{quote(ref)}/{quote(name)}"


def _file(path: Path, *, shown: bool) -> Response:
    return FileResponse(
        path,
        filename=path.name,
        content_disposition_type="inline" if shown else "attachment",
        headers={"content-security-policy": _SANDBOX, "x-content-type-options": "nosniff"},
    )

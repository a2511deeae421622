"""The studio's server: Streamlit behind the door, on loopback: `python -m app.server --home .studiolo --port 8402`."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import streamlit
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from streamlit.runtime.pages_manager import PagesManager

from app import theme
from app.door import Door, Login, content_security_policy
from app.files import Files
from studiolo.sessions import Sessions
from workspace import Workspace

SCRIPT = Path(__file__).with_name("main.py")


def create_app(workspace: Workspace, *, port: int) -> streamlit.App:
    """Return the studio of a workspace as an ASGI application."""
    sessions = Sessions(workspace)
    cookie = f"studiolo_{port}"  # cookies know no ports: two studios on one machine keep theirs apart
    login = Login(sessions, cookie)
    files = Files(workspace)
    # Until the first visitor's st.navigation says so, Streamlit would take each file of pages/ for a script.
    PagesManager.uses_pages_directory = False
    page = Path(streamlit.__file__).with_name("static") / "index.html"
    policy = content_security_policy(page.read_text())
    return streamlit.App(
        SCRIPT,
        routes=[
            Route("/health", _health),
            Route("/login", login.enter, methods=["GET", "POST"]),
            Route("/logout", login.leave),
            Route("/files/{run_id}/{name:path}", files.serve),
            Route("/data/{ref}/{name:path}", files.serve_data),
        ],
        middleware=[Middleware(Door, sessions=sessions, cookie=cookie, policy=policy)],
    )


def options(port: int) -> dict[str, Any]:
    """Return how Streamlit shall behave: quiet, on loopback, with our theme, sending nothing anywhere."""
    return {
        "server.address": "127.0.0.1",
        "server.port": port,
        "server.headless": True,
        "server.fileWatcherType": "none",
        "server.enableStaticServing": False,
        "server.maxUploadSize": 10,
        "browser.gatherUsageStats": False,
        "client.toolbarMode": "minimal",
        "client.showErrorDetails": "none",
        "client.showErrorLinks": False,
        "runner.magicEnabled": False,
        "logger.hideWelcomeMessage": True,
        **theme.options(),
    }


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(prog="python -m app.server", description=__doc__)
    parser.add_argument("--home", type=Path, default=None, help="the workspace folder")
    parser.add_argument("--port", type=int, default=None, help="the port on 127.0.0.1")
    given = parser.parse_args()
    workspace = Workspace.open(given.home)
    workspace.tokens.local()  # there is always one to log in with
    port = given.port or workspace.settings.studio_port
    # The pages open the workspace for themselves, from the environment as every process does.
    os.environ.update(workspace.settings.environment())
    create_app(workspace, port=port).run(config=options(port))


async def _health(_request: Request) -> Response:
    return JSONResponse({"status": "ok"})


if __name__ == "__main__":
    main()

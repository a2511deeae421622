"""A server of files on this machine, for tests of what is fetched, and a cache of a test's own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from jobs.submit import stream, wait
from tests.jobs.conftest import LONG, Submit
from workspace.home import Workspace


@dataclass
class Server:
    """A server of files on this machine, and what it was asked."""

    port: int = 0
    files: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    sent: int = 0
    authorized: set[str | None] = field(default_factory=set)
    status: int = 200  # another is answered to everything

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            found.asked.append(self.path)
            found.authorized.add(self.headers.get("Authorization"))
            content = found.files.get(self.path.partition("?")[0])
            etag = f'"{hash(content)}"'
            if content is None or found.status != 200:
                self.send_error(404 if found.status == 200 else found.status)
                return
            if self.headers.get("If-None-Match") == etag:
                self.send_response(304)
                self.end_headers()
                return
            found.sent += 1
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("ETag", etag)
            self.end_headers()
            self.wfile.write(content)

    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.port = made.server_port
    threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True).start()
    yield found
    made.shutdown()
    made.server_close()


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def inside(workspace: Workspace) -> Workspace:
    """A workspace that may fetch from this machine, as from a server in one's own network."""
    workspace.settings = replace(workspace.settings, data_hosts="localhost,127.0.0.1")
    return workspace


def said(workspace: Workspace, run: Submit, command: str, rest: str) -> str:
    job = run(command, rest)
    wait(workspace, job.name, seconds=LONG)
    return b"".join(stream(workspace, job.name)).decode()

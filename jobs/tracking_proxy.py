"""From a job's own port to MLflow's server, which is started where it does not run."""

from __future__ import annotations

import hmac
import json
import os
import socket
import subprocess
import time
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from jobs.spec import Spec
from workspace.errors import Unavailable
from workspace.light_database import LightDatabase
from workspace.paths import locked
from workspace.processes import Identity, is_alive
from workspace.settings import Settings

LONGEST_START = 120.0  # seconds until MLflow's server answers
CARRIED = 20.0  # seconds until it knows the run
IDLE = 900  # seconds without a request after which a server that was started here ends
_CHUNK = 1 << 16
_HOP = frozenset({
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailers", "transfer-encoding",
    "upgrade", "host", "authorization", "content-length",
})  # fmt: skip


class _Way:
    """The way to the server: it is started where it does not run, and knows the job's run before it is asked."""

    def __init__(self, settings: Settings, spec: Spec) -> None:
        self._settings = settings
        self._spec = spec
        self._is_known = False

    def connection(self) -> HTTPConnection:
        """Return a connection to the server."""
        with locked(self._settings.home / "tracking.lock"):
            port = _running(self._settings.home) or self._started()
        if not self._is_known:
            self._await_run()
            self._is_known = True
        return HTTPConnection("127.0.0.1", port, timeout=600)

    def token(self) -> str:
        """Return the workspace's own token."""
        from workspace.home import Workspace

        with Workspace.open(settings=self._settings) as workspace:
            return workspace.tokens.local()

    def _started(self) -> int:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port: int = free.getsockname()[1]
        home = self._settings.home
        (home / "logs").mkdir(mode=0o700, exist_ok=True)
        line = [*self._spec.tracking, "--home", str(home), "--port", str(port), "--idle", str(IDLE)]
        with (home / "logs" / "mlflow.log").open("ab") as log:
            process = subprocess.Popen(
                line, env=os.environ | self._settings.environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                cwd=home, start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + LONGEST_START
        while time.monotonic() < deadline and process.poll() is None:
            if _answers(port):
                return port
            time.sleep(0.1)
        raise Unavailable("MLflow's server does not start", hint=f"see {home / 'logs' / 'mlflow.log'}")

    def _await_run(self) -> None:
        database = LightDatabase.of(self._settings)
        deadline = time.monotonic() + CARRIED
        while time.monotonic() < deadline:
            rows = database.rows("SELECT carried FROM runs WHERE run_id = :run", run=self._spec.run_id)
            if rows and rows[0]["carried"]:
                break
            time.sleep(0.1)
        database.close()


def _forward(asked: BaseHTTPRequestHandler, connection: HTTPConnection, token: str) -> None:
    length = int(asked.headers.get("Content-Length") or 0)
    connection.putrequest(asked.command, asked.path, skip_accept_encoding=True)
    for name, value in asked.headers.items():
        if name.lower() not in _HOP:
            connection.putheader(name, value)
    connection.putheader("Authorization", f"Bearer {token}")
    connection.putheader("Content-Length", str(length))
    connection.endheaders()
    while length:
        chunk = asked.rfile.read(min(_CHUNK, length))
        if not chunk:
            raise OSError("the request has ended in the middle")
        connection.send(chunk)
        length -= len(chunk)
    answer = connection.getresponse()
    asked.send_response(answer.status, answer.reason)
    for name, value in answer.headers.items():
        if name.lower() not in _HOP:
            asked.send_header(name, value)
    if answer.length is not None:
        asked.send_header("Content-Length", str(answer.length))
    else:
        asked.send_header("Connection", "close")
    asked.end_headers()
    while chunk := answer.read(_CHUNK):
        asked.wfile.write(chunk)
    connection.close()


def _running(home: Path) -> int:
    """Return the port of a server of this workspace that answers, or 0."""
    try:
        record = json.loads((home / "services" / "mlflow.json").read_text())
        who, port = Identity(record["pid"], record["started_at"]), int(record["port"])
    except (OSError, ValueError, KeyError):
        return 0
    return port if is_alive(who) and _answers(port) else 0


def _answers(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def serve(listener: socket.socket, settings: Settings, spec: Spec, secret: str) -> None:
    """Answer on the port for as long as this process lives; only who knows the secret is let through."""
    way, token = _Way(settings, spec), ""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            nonlocal token
            given = self.headers.get("Authorization", "").removeprefix("Bearer ")
            if not hmac.compare_digest(given.encode(), secret.encode()):
                self.send_error(401, "this port is for one job")
                return
            if self.headers.get("Transfer-Encoding"):
                self.send_error(411, "say how long the body is")
                return
            try:
                connection = way.connection()
                token = token or way.token()
                _forward(self, connection, token)
            except (Unavailable, HTTPException, OSError) as error:
                self.send_error(503, " ".join(str(error).split()))
                self.close_connection = True

        # The names are http.server's.
        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = handle_any  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Say nothing: what was asked is in the server's log."""

    server = ThreadingHTTPServer(listener.getsockname()[:2], Handler, bind_and_activate=False)
    server.socket = listener
    server.serve_forever()

"""What answers at a job's own port: what is about its run we do, all else MLflow's server, started where none runs."""

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

from jobs.leftovers import KEPT
from jobs.spec import Spec
from jobs.tracking_local import LARGEST, Answer, OwnRun
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

    def __init__(self, settings: Settings, spec: Spec, database: LightDatabase) -> None:
        self._settings = settings
        self._spec = spec
        self._database = database
        self._is_known = False
        self.is_used = False  # whether the server may know of the run what we do not

    def connection(self, *, fresh: bool) -> HTTPConnection:
        """Return a connection to the server; where it is to be fresh, the server has heard all that was logged."""
        if not self._spec.tracking:
            raise Unavailable("no MLflow server is to be had for this job", hint="submit it by `studiolo job create`")
        with locked(self._settings.home / "tracking.lock"):
            port = _running(self._settings.home) or self._started()
        self.is_used = True
        if not self._is_known or fresh:
            self._await_run(fresh)
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
                line, env=os.environ | self._settings.environment() | {KEPT: "1"}, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, cwd=home, start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + LONGEST_START
        while time.monotonic() < deadline and process.poll() is None:
            if _answers(port):
                return port
            time.sleep(0.1)
        raise Unavailable("MLflow's server does not start", hint=f"see {home / 'logs' / 'mlflow.log'}")

    def _await_run(self, fresh: bool) -> None:
        query = "SELECT carried, changed FROM runs WHERE run_id = :run"
        deadline, least = time.monotonic() + CARRIED, 1
        while time.monotonic() < deadline:
            rows = self._database.rows(query, run=self._spec.run_id)
            if rows and fresh:
                least, fresh = rows[0]["changed"], False
            if rows and rows[0]["carried"] >= least:
                return
            time.sleep(0.1)


def _forward(asked: BaseHTTPRequestHandler, connection: HTTPConnection, token: str, body: bytes) -> None:
    length = int(asked.headers.get("Content-Length") or 0)
    connection.putrequest(asked.command, asked.path, skip_accept_encoding=True)
    for name, value in asked.headers.items():
        if name.lower() not in _HOP:
            connection.putheader(name, value)
    connection.putheader("Authorization", f"Bearer {token}")
    connection.putheader("Content-Length", str(length))
    connection.endheaders(body or None)
    length -= len(body)
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


def _refuse_stranger(asked: BaseHTTPRequestHandler, secret: str) -> bool:
    given = asked.headers.get("Authorization", "").removeprefix("Bearer ")
    if not hmac.compare_digest(given.encode(), secret.encode()):
        asked.send_error(401, "this port is for one job")
        return True
    if asked.headers.get("Transfer-Encoding"):
        asked.send_error(411, "say how long the body is")
        return True
    return False


def _own_answer(asked: BaseHTTPRequestHandler, own: OwnRun, way: _Way) -> tuple[Answer | None, bytes]:
    """Return our own answer, if we have one, and what was read of the body to know."""
    length = int(asked.headers.get("Content-Length") or 0)
    if own.is_writer(asked.command, asked.path) and length <= LARGEST:
        body = asked.rfile.read(length)
        return own.write(asked.path, body), body
    if asked.command == "GET" and not way.is_used:
        return own.read(asked.path), b""
    return None, b""


def _send(asked: BaseHTTPRequestHandler, answer: Answer) -> None:
    body = json.dumps(answer.body).encode()
    asked.send_response(answer.status)
    asked.send_header("Content-Type", "application/json")
    asked.send_header("Content-Length", str(len(body)))
    asked.end_headers()
    asked.wfile.write(body)


def serve(listener: socket.socket, settings: Settings, spec: Spec, secret: str) -> None:
    """Answer on the port for as long as this process lives; only who knows the secret is let through."""
    database = LightDatabase.of(settings)
    way, own, token = _Way(settings, spec, database), OwnRun(settings, spec, database), ""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1  # an answer leaves in one piece

        def handle_any(self) -> None:
            nonlocal token
            if _refuse_stranger(self, secret):
                return
            answer, body = _own_answer(self, own, way)
            if answer is not None:
                _send(self, answer)
                return
            try:
                reads = self.command == "GET" or "search" in self.path
                connection = way.connection(fresh=reads and ("/runs" in self.path or "/metrics" in self.path))
                token = token or way.token()
                _forward(self, connection, token, body)
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

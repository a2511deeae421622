"""The parent of the processes that serve a flow: it binds the socket they share, replaces what dies, and drains."""

from __future__ import annotations

import errno
import ipaddress
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, cast

from flows import includes
from flows.connections import Connection
from flows.flow import Flow
from flows.serve.app import Terms
from flows.serve.process import DRAIN
from flows.wire import pack
from workspace.errors import Invalid, Location, Unavailable

LOOK = 0.2  # seconds between looks at the processes
LOADING = 300.0  # seconds that the flow's code has to be imported
LONGEST_PAUSE = 10.0  # seconds before a process that keeps dying is started again


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """Where and how a flow is served: `environment` goes over that of this process, which goes over the flow's own.

    Port 0 is any free one; with a `socket` it is that unix socket instead, which only this user can open. `home` is the
    workspace that keeps what is served; without one nothing is kept. `cassette` is (path, "record" | "replay").
    """

    host: str = "127.0.0.1"
    port: int = 8080
    socket: Path | None = None
    workers: int = 1
    token: str = ""
    init: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    home: Path | None = None
    cassette: tuple[Path, str] | None = None


@dataclass(frozen=True, slots=True)
class Ready:
    """The flow answers at this address."""

    url: str
    pids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Replaced:
    """A process has ended with this code and another stands in its place."""

    code: int
    pid: int


def serve(
    flow: Flow, connections: Mapping[str, Connection], serving: Serving, stop: threading.Event
) -> Iterator[Ready | Replaced]:
    """Serve a flow until `stop` is set; requests under way are answered before this returns.

    Raises Invalid where the flow's code cannot be loaded, Unavailable where the port is taken.
    """
    with (
        listening_on(serving.socket) if serving.socket else listening(serving.host, serving.port) as listener,
        includes.merged(flow) as runs,
    ):
        start = _start(flow, runs, connections, serving, listener)
        processes: list[_Process] = []
        try:
            for _ in range(serving.workers):
                processes.append(_Process(start, listener))
            for process in processes:
                process.wait_ready(flow)
            yield Ready(_shown(listener), tuple(process.pid for process in processes))
            pause = LOOK
            while not stop.wait(LOOK):
                for index, process in enumerate(processes):
                    if (code := process.code()) is None:
                        continue
                    process.close()
                    stop.wait(pause)
                    pause = min(LONGEST_PAUSE, pause * 2) if process.age < LONGEST_PAUSE else LOOK
                    processes[index] = _Process(start, listener)
                    processes[index].wait_ready(flow)
                    yield Replaced(code, processes[index].pid)
        finally:
            _drain(processes)


@contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """Give a socket bound to an address; Unavailable where that cannot be."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise Unavailable(f"port {port} is in use", hint="give another with --port") from None
        raise Unavailable(f"cannot listen on {host}:{port}: {error.strerror}", hint="see `studiolo doctor`") from None
    with listener:
        yield listener


@contextmanager
def listening_on(path: Path) -> Iterator[socket.socket]:
    """Give a socket bound to a path that only this user can open; the path is gone afterwards."""
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        before = os.umask(0o177)
        try:
            listener.bind(str(path))
        except OSError as error:
            raise Unavailable(f"cannot listen on {path}: {error.strerror}", hint="use a shorter path") from None
        finally:
            os.umask(before)
        listener.listen(1024)
        try:
            yield listener
        finally:
            path.unlink(missing_ok=True)


def is_loopback(host: str) -> bool:
    """Whether only this machine can speak to what listens there.

    >>> is_loopback("localhost"), is_loopback("::1"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _Process:
    """One serving process."""

    def __init__(self, start: Mapping[str, Any], listener: socket.socket) -> None:
        self._began = time.monotonic()
        self._process = subprocess.Popen(
            # -P: a file of the flow may be called as a module of ours.
            [sys.executable, "-P", "-m", "flows.serve.process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[listener.fileno()],
            start_new_session=True,  # Ctrl-C is for the parent, which then lets its children drain
        )
        self.pid = self._process.pid
        self._answer: dict[str, Any] | None = None
        self._hears = threading.Thread(target=self._hear, daemon=True)
        self._hears.start()
        try:
            self._input.write(json.dumps(start, default=str).encode() + b"\n")
            self._input.flush()
        except BrokenPipeError:
            pass  # it died at once: whoever waits for it sees that

    @property
    def _input(self) -> IO[bytes]:
        return cast("IO[bytes]", self._process.stdin)

    @property
    def age(self) -> float:
        """Seconds since it was started."""
        return time.monotonic() - self._began

    def wait_ready(self, flow: Flow) -> None:
        """Wait until it serves."""
        self._hears.join(LOADING)
        if self._answer is None:
            self._process.kill()
            code = self._process.wait()
            raise Unavailable(f"the serving process ended with code {code} before it was ready")
        if "refused" in self._answer:
            what = f"the flow's code cannot be loaded: {self._answer['refused']}"
            raise Invalid(what, hint=self._answer["hint"], at=Location(Path(self._answer.get("at") or flow.file)))

    def code(self) -> int | None:
        """Return how it ended, None while it runs."""
        return self._process.poll()

    def end(self) -> None:
        """Ask it to end."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def close(self) -> None:
        """Wait for its end, and let go of its pipes."""
        try:
            self._process.wait(DRAIN + 5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            try:
                cast("IO[bytes]", pipe).close()
            except BrokenPipeError:
                continue

    def _hear(self) -> None:
        line = cast("IO[bytes]", self._process.stdout).readline()
        self._answer = json.loads(line) if line else None


def _start(
    flow: Flow, runs: Flow, connections: Mapping[str, Connection], serving: Serving, listener: socket.socket
) -> dict[str, Any]:
    # Where a flow is deployed decides: what stands there goes over what its file says.
    own = {name: value for name, value in flow.environment_variables.items() if name not in os.environ}
    changed = {**own, **serving.environment}
    environment = {**os.environ, **changed}
    terms = Terms(
        digest=flow.digest,
        token=serving.token,
        loopback=is_loopback(serving.host),
        included=environment.get("PROMPTFLOW_RESPONSE_INCLUDED_FIELDS", ""),
        build=environment.get("BUILD_INFO", ""),
    )
    return {
        "flow": pack(runs),
        "terms": asdict(terms),
        "socket": listener.fileno(),
        "init": dict(serving.init) or _init(environment),
        "environment": changed,
        "home": str(serving.home) if serving.home else None,
        "cassette": [str(serving.cassette[0].resolve()), serving.cassette[1]] if serving.cassette else None,
        "connections": {name: asdict(connection) for name, connection in connections.items()},
    }


def _shown(listener: socket.socket) -> str:
    if listener.family == socket.AF_UNIX:
        return f"unix:{listener.getsockname()}"
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _init(environment: Mapping[str, str]) -> dict[str, Any]:
    given = environment.get("PF_FLOW_INIT_CONFIG")
    if not given:
        return {}
    try:
        return dict(json.loads(given))
    except (ValueError, TypeError):
        raise Invalid("PF_FLOW_INIT_CONFIG is no JSON object", hint='such as {"model": "m"}') from None


def _drain(processes: list[_Process]) -> None:
    for process in processes:
        process.end()
    for process in processes:
        process.close()

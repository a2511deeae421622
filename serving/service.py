"""The gateway as a process: it binds, leaves a record of itself, serves, drains and tidies up."""

from __future__ import annotations

import argparse
import asyncio
import errno
import gc
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from serving import replicas
from serving.admission import LOOPBACK
from workspace.errors import Conflict, Denied, StudioloError, Unavailable
from workspace.home import Workspace
from workspace.paths import locked, write_atomically
from workspace.processes import Identity, is_alive, own_identity
from workspace.settings import Settings

DRAIN = 30.0  # seconds that answers under way have to end after SIGTERM


@dataclass(frozen=True, slots=True)
class Record:
    """A gateway that runs: who it is and its port."""

    pid: int
    started_at: float
    port: int

    @property
    def alive(self) -> bool:
        """Whether this very process still runs."""
        return is_alive(Identity(self.pid, self.started_at))


def running(home: Path) -> Record | None:
    """Return the gateway that everybody in this workspace shares, if one runs."""
    found = _read(home / "services" / "gateway.json")
    return found if found and found.alive else None


def another(home: Path) -> bool:
    """Whether a gateway besides this process serves this workspace, and may use its engines."""
    return any(record.pid != os.getpid() for record in _all_running(home))


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM; a private gateway also ends with the process that started it."""
    parser = argparse.ArgumentParser(prog="python -m serving.gateway", description="The OpenAI-compatible gateway.")
    parser.add_argument("--home", type=Path, help="folder of the workspace")
    parser.add_argument("--host", default="127.0.0.1", help="a loopback address")
    parser.add_argument("--port", type=int, help="0: any free one")
    parser.add_argument("--private", action="store_true", help="serve one caller: announce the port, end with stdin")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        settings = Settings.from_environment()
        port = settings.gateway_port if given.port is None else given.port
        with Workspace.open(given.home, settings=settings) as workspace:
            _serve(workspace, given.host, port, private=given.private)
    except StudioloError as error:
        print(f"{error}\n  hint: {error.hint}" if error.hint else str(error), file=sys.stderr)  # noqa: T201 (the edge)
        return error.exit_code
    return 0


def _serve(workspace: Workspace, host: str, port: int, *, private: bool) -> None:
    import uvloop

    with (
        _listening(host, port) as listener,
        _recorded(workspace.home, listener.getsockname()[1], private=private),
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        runner.run(_until_told(workspace, listener, private=private))


async def _until_told(workspace: Workspace, listener: socket.socket, *, private: bool) -> None:
    from serving.api.batches_store import tend_on
    from serving.downstream import Server
    from serving.gateway import create_app

    loop = asyncio.get_running_loop()
    app = create_app(workspace)
    server = Server(app)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.drain)

    def caller_left() -> None:
        if not os.read(sys.stdin.fileno(), 1):
            loop.remove_reader(sys.stdin.fileno())
            server.drain()

    if private:
        loop.add_reader(sys.stdin.fileno(), caller_left)
        print(json.dumps({"port": listener.getsockname()[1]}), flush=True)  # noqa: T201 (the caller reads it)
    # What lives until we end is not looked at again and again for what has died.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    sys.setswitchinterval(0.0005)  # a thread that reads the database gives way to answers after 0.5 ms, not 5
    tending = [loop.create_task(tend_on(workspace)), loop.create_task(app.house.replays.tend_on())]
    await server.serve(listener, patience=DRAIN)
    for task in tending:
        task.cancel()
    app.close()


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    if host not in LOOPBACK:
        raise Denied(f"the gateway listens on this machine only, not on {host!r}", hint="127.0.0.1, localhost or ::1")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            hint = "`studiolo status` shows ours; another: STUDIOLO_GATEWAY_PORT"
            raise Unavailable(f"port {port} is in use", hint=hint) from None
        raise Unavailable(f"cannot listen on {host}:{port}: {error.strerror}", hint="run `studiolo doctor`") from None
    with listener:
        yield listener


@contextmanager
def _recorded(home: Path, port: int, *, private: bool) -> Iterator[None]:
    own = own_identity()
    folder = home / "services"
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / (f"gateway-{own.pid}.json" if private else "gateway.json")
    with locked(folder / "gateway.lock"):
        if not private and (other := running(home)):
            raise Conflict(f"this workspace has a gateway already, on port {other.port}", hint="`studiolo status`")
        write_atomically(path, json.dumps(asdict(Record(own.pid, own.started_at, port))))
    try:
        yield
    finally:
        with locked(folder / "gateway.lock"):
            path.unlink(missing_ok=True)
            if private and not _all_running(home):
                replicas.stop_all(home)  # nobody is left who would use the engines


def _all_running(home: Path) -> list[Record]:
    """The shared gateway and the private ones."""
    found = [_read(path) for path in (home / "services").glob("gateway*.json")]
    return [record for record in found if record and record.alive]


def _read(path: Path) -> Record | None:
    try:
        return Record(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None

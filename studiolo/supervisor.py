"""The supervisor: one process that starts the services, restarts what dies, and leaves nothing behind.

Each service leads its own process group and dies with the supervisor, however that one ends. Engines are the
exception: they are the gateway's, outlive a crash and are adopted by the next gateway; a deliberate stop ends them.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Literal

from studiolo.services import (
    House,
    Service,
    ServiceRecord,
    State,
    answers,
    check_ports,
    end,
    read_house,
    services,
    write_house,
)
from workspace.errors import Conflict, StudioloError
from workspace.processes import Identity, identity_of, own_identity
from workspace.settings import Settings

POLL = 0.2
QUICK = 10.0  # a process that was ready for less than this died quickly
PATIENCE = 5  # quick deaths in a row before a service is given up
LONGEST_START = 120.0  # a process that does not answer for so long never will
LONGEST_PAUSE = 10.0
GRACE = 10.0  # seconds between SIGTERM and SIGKILL
LARGE = 5_000_000  # bytes of a log that are enough
LAST_LINES = 3
NOBODY = Identity(0, 0.0)

Kind = Literal["starting", "ready", "died", "failed", "settled", "stopping", "stopped", "refused"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What happened to a service; "settled" is said once, when each is ready or given up, "refused" instead of all."""

    kind: Kind
    service: str = ""
    seconds: float = 0.0
    message: str = ""
    hint: str = ""
    detail: str = ""

    def line(self) -> str:
        """Return the event as one line of JSON."""
        return json.dumps(asdict(self))


@dataclass(slots=True)
class _Child:
    """A service and what became of it so far."""

    service: Service
    process: subprocess.Popen[bytes] | None = None
    identity: Identity = NOBODY
    state: State = "starting"
    first_start: float = field(default_factory=time.monotonic)
    started: float = 0.0
    ready: float = 0.0
    log_start: int = 0
    since: float = 0.0
    restarts: int = 0
    quick_deaths: int = 0
    next_start: float = 0.0
    message: str = ""


def supervise(home: Path, wanted: tuple[Service, ...], stop: threading.Event) -> Iterator[Event]:
    """Keep the services running until `stop` is set, then end them and the engines; say what happens meanwhile."""
    with _alone(home):
        clear_the_way(home, wanted)
        children = [_Child(service) for service in wanted]
        settled = False
        try:
            while not stop.is_set():
                for child in children:
                    yield from _look_after(home, child, children)
                if not settled and all(child.state in ("ready", "failed") for child in children):
                    settled = True
                    yield Event(kind="settled", seconds=time.monotonic() - children[0].first_start)
                stop.wait(POLL)
            yield Event(kind="stopping")
        finally:
            _end(home, children)
        yield Event(kind="stopped")


def clear_the_way(home: Path, wanted: tuple[Service, ...]) -> None:
    """End what a supervisor that crashed may have left, then raise Unavailable where a port is not free."""
    house = read_house(home)
    if house is not None and not house.standing:
        end([each.identity for each in house.services if each.pid], patience=GRACE)
    check_ports(wanted)


def follow(log: Path, offset: int, process: subprocess.Popen[bytes]) -> Iterator[Event]:
    """Return the events that a supervisor process writes to its log after `offset`, until it ends."""
    with log.open("rb") as file:
        file.seek(offset)
        pending = b""
        while True:
            ended = process.poll() is not None
            pending += file.read()
            *lines, pending = pending.split(b"\n")
            for line in lines:
                if line.startswith(b'{"kind"'):
                    yield Event(**json.loads(line))
            if ended:
                return
            time.sleep(0.1)


def launch(home: Path, settings: Settings, *, leashed: bool) -> tuple[subprocess.Popen[bytes], Path, int]:
    """Start a supervisor in a session of its own; leashed, it stops when the process that called this ends."""
    log = _log_file(home, "supervisor")
    offset = log.stat().st_size if log.exists() else 0
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "studiolo.supervisor", "--home", str(home)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **settings.environment(), "STUDIOLO_HOME": str(home)},
            start_new_session=True,
            preexec_fn=_dying_with_parent(signal.SIGTERM) if leashed else None,
        )
    return process, log, offset


def _look_after(home: Path, child: _Child, children: list[_Child]) -> Iterator[Event]:
    now = time.monotonic()
    name = child.service.name
    if child.process is None:
        if child.state != "failed" and now >= child.next_start:
            _start(home, child)
            _record(home, children)
            yield Event(kind="starting", service=name)
    elif (code := child.process.poll()) is not None:
        yield _buried(home, child, child.process.pid, code)
        _record(home, children)
    elif child.state == "starting" and answers(child.service.port):
        child.state, child.ready, child.message = "ready", now, ""
        _record(home, children)
        yield Event(kind="ready", service=name, seconds=now - child.started)
    elif child.state == "starting" and now - child.started > LONGEST_START:
        end([child.identity], patience=GRACE)
        child.process.wait()
        child.process, child.state = None, "failed"
        child.message = f"did not answer within {LONGEST_START:.0f} s"
        _record(home, children)
        yield _event("failed", home, child)


def _start(home: Path, child: _Child) -> None:
    path = _log_file(home, child.service.name)
    if path.exists() and path.stat().st_size > LARGE:
        path.replace(path.with_suffix(".log.1"))
    child.log_start = path.stat().st_size if path.exists() else 0
    with path.open("ab") as output:
        child.process = subprocess.Popen(
            child.service.command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            process_group=0,
            preexec_fn=_dying_with_parent(signal.SIGKILL),
        )
    child.identity = identity_of(child.process.pid) or Identity(child.process.pid, 0.0)
    child.state, child.started, child.ready, child.since = "starting", time.monotonic(), 0.0, time.time()


def _buried(home: Path, child: _Child, pid: int, code: int) -> Event:
    _end_group(pid)
    child.process = None
    now = time.monotonic()
    lived = now - child.ready if child.ready else 0.0
    child.quick_deaths = child.quick_deaths + 1 if lived < QUICK else 1
    why = f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
    if child.quick_deaths >= PATIENCE:
        child.state, child.message = "failed", f"given up: {why} {PATIENCE} times in a row"
        return _event("failed", home, child)
    child.state, child.message = "waiting", why
    child.restarts += 1
    child.next_start = now + min(0.25 * 2 ** (child.quick_deaths - 1), LONGEST_PAUSE)
    return _event("died", home, child)


def _event(kind: Kind, home: Path, child: _Child) -> Event:
    """Return an event with the last words that the process left in its log."""
    words = _last_words(_log_file(home, child.service.name), child.log_start)
    return Event(kind=kind, service=child.service.name, message=child.message, detail=words)


def _end_group(leader: int) -> None:
    """Kill what is left of the process group of a service that ended."""
    try:
        os.killpg(leader, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def _end(home: Path, children: list[_Child]) -> None:
    end([child.identity for child in children if child.process], patience=GRACE)
    from serving.replicas import stop_all  # here, because it brings the database's libraries along

    stop_all(home)
    for child in children:
        if child.process:
            child.process.wait()
        child.state = "stopped"
    _record(home, children)


def _record(home: Path, children: list[_Child]) -> None:
    records = tuple(
        ServiceRecord(
            name=child.service.name,
            title=child.service.title,
            port=child.service.port,
            state=child.state,
            pid=child.identity.pid,
            started_at=child.identity.started_at,
            since=child.since,
            restarts=child.restarts,
            message=child.message,
        )
        for child in children
    )
    write_house(home, House(identity=own_identity(), services=records))


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    (home / "services").mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(home / "services" / "supervisor.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Conflict(f"the studio of {home} is running already", hint="see `studiolo status`") from None
    else:
        yield
    finally:
        os.close(handle)


def _last_words(log: Path, start: int) -> str:
    with log.open("rb") as file:
        file.seek(max(start, log.stat().st_size - 4000))
        lines = file.read().decode(errors="replace").strip().splitlines()
    return "\n".join(lines[-LAST_LINES:])


def _log_file(home: Path, name: str) -> Path:
    folder = home / "logs"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder / f"{name}.log"


def _dying_with_parent(number: signal.Signals) -> Callable[[], None] | None:
    """Return what a child runs before its program, so that it gets a signal when its parent is gone (Linux)."""
    if sys.platform != "linux":
        return None
    parent = os.getpid()
    control = ctypes.CDLL(None, use_errno=True).prctl

    def arm() -> None:
        control(1, int(number))  # PR_SET_PDEATHSIG
        if os.getppid() != parent:
            os._exit(1)

    return arm


def main() -> None:
    """Run as a process of its own: events go to stdout, one line of JSON each; SIGTERM ends it all."""
    parser = argparse.ArgumentParser(prog="studiolo.supervisor")
    parser.add_argument("--home", type=Path, required=True)
    home = parser.parse_args().home
    stop = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    try:
        for event in supervise(home, services(home, Settings.from_environment()), stop):
            print(event.line(), flush=True)  # noqa: T201
    except StudioloError as error:
        print(Event(kind="refused", message=error.message, hint=error.hint or "").line(), flush=True)  # noqa: T201
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()

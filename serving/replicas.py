"""The engine processes behind the gateway: started on first need, found again after a restart, stopped when told to.

An engine lives in a session of its own and outlasts the gateway that started it. Its record, `services/engine-*.json`,
names it by process number and start time: the next gateway, or a second one, adopts it and loads nothing twice.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import signal
import socket as sockets
import stat
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import psutil

from serving.endpoints import Deployment
from serving.engines.launch import CPU, Launch
from serving.engines.launches import kind
from workspace.errors import Denied, Unavailable
from workspace.home import Workspace
from workspace.paths import locked, write_atomically
from workspace.processes import Identity, identity_of, is_alive

LONGEST_SOCKET = 100  # characters; the kernel takes 107
LONGEST_LOG = 20_000_000  # bytes after which the next start begins a new log
TOLD = 12  # lines of an engine's log that explain a failure
# What an engine sees of our environment: enough to find programs, libraries and devices; no secrets.
_PASSED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "VIRTUAL_ENV")
# Without these the idle compute threads of one engine spin and take the cores from everybody else.
_QUIET = {
    "OMP_WAIT_POLICY": "PASSIVE",
    "GOMP_SPINCOUNT": "0",
    "PYTHONUNBUFFERED": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
_ODD = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """One engine process: who it is, where it listens, what it serves, what it takes."""

    key: str
    pid: int
    started_at: float  # as in `workspace.processes.Identity`
    socket: str
    model: str
    log: str
    log_start: int  # where in the log this process began
    engine: str = "torch"
    port: int = 0
    secret: str = field(default="", repr=False)  # the key that it asks for on its port
    host: str = "engine"
    health: str = "/health"
    loading: float = 120.0
    drain: float = 5.0
    memory: int = 0
    device: str = CPU
    sleep: str = ""
    wake: str = ""
    asleep: bool = False
    adapters: dict[str, str] | None = None  # what is loaded, by name; None: it can load none
    since: float = 0.0  # seconds since 1970, for people

    @property
    def group(self) -> str:
        """The key that it shares with the other replicas of its deployment."""
        return self.key.rpartition("~")[0] or self.key

    @property
    def alive(self) -> bool:
        """Whether this very process still runs."""
        return is_alive(Identity(self.pid, self.started_at))

    def last_words(self) -> str:
        """Return the last lines that this process wrote to its log."""
        try:
            with Path(self.log).open("rb") as file:
                file.seek(max(self.log_start, file.seek(0, os.SEEK_END) - 16_384))
                lines = file.read().decode("utf-8", "replace").strip().splitlines()
        except OSError:
            return ""
        return "\n".join(lines[-TOLD:])


def key_of(deployment: Deployment, index: int = 0) -> str:
    """Return which engine serves a deployment; those of the same engine, model and options share one.

    The second replica and those after it have a number: "smollm2-135m-instruct-1~1".
    """
    options = dict(kind(deployment.engine).options(deployment))
    text = _ODD.sub("-", deployment.model.removeprefix("model:")).strip("-.")
    if deployment.engine != "torch":
        text = f"{deployment.engine}-{text}"
    if options or len(text) > 80 or deployment.engine == "flow":
        mark = hashlib.sha256(json.dumps([deployment.model, options], default=str).encode()).hexdigest()[:8]
        text = f"{text[:80]}-{mark}"
    return f"{text}~{index}" if index else text


def adopt_or_start(
    workspace: Workspace, deployment: Deployment, index: int = 0, *, launch: Launch | None = None
) -> tuple[Replica, subprocess.Popen[bytes] | None]:
    """Return a replica of the deployment; the process too where it was started here, for its starter to reap.

    Any number of gateways may ask at once: one starts it, the others adopt it.
    """
    key = key_of(deployment, index)
    folder = workspace.home / "services"
    folder.mkdir(mode=0o700, exist_ok=True)
    launch = launch or kind(deployment.engine).launch(workspace, deployment)
    with locked(folder / f"engine-{key}.lock"):
        found = read(folder / f"engine-{key}.json")
        if found and found.alive:
            return found, None
        if found:
            _sweep(found)  # what a killed engine has left: it holds memory, and perhaps the socket
        return _start(workspace.home, key, deployment, launch)


def living(home: Path) -> list[Replica]:
    """Return the engines of a workspace that run now."""
    found = [read(path) for path in sorted((home / "services").glob("engine-*.json"))]
    return [replica for replica in found if replica and replica.alive]


def stop(replica: Replica) -> None:
    """End an engine with all it has started: kindly, then by force; the next request would start it again."""
    if replica.alive:
        with suppress(ProcessLookupError):
            os.kill(replica.pid, signal.SIGTERM)
        deadline = time.monotonic() + replica.drain
        while replica.alive and time.monotonic() < deadline:
            time.sleep(0.02)
    _sweep(replica)
    if replica.socket:
        Path(replica.socket).unlink(missing_ok=True)


def stop_all(home: Path) -> int:
    """End every engine of a workspace and return how many there were."""
    found = living(home)
    for replica in found:
        stop(replica)
    return len(found)


def memory(replica: Replica) -> int:
    """Return the bytes that an engine holds in this machine's memory, with all it has started."""
    found = set(session(replica.pid))
    with suppress(psutil.Error):
        found |= {each.pid for each in psutil.Process(replica.pid).children(recursive=True)}
    size = 0
    for pid in found:
        with suppress(psutil.Error):
            size += int(psutil.Process(pid).memory_info().rss)
    return size


def kept(home: Path, replica: Replica) -> Replica:
    """Write the record of a replica and return it."""
    write_atomically(home / "services" / f"engine-{replica.key}.json", json.dumps(asdict(replica)))
    return replica


def socket_path(home: Path, key: str) -> Path:
    """Return where an engine listens: in the workspace, or in a short private folder where its path is too long."""
    path = home / "services" / f"engine-{key}.sock"
    if len(os.fsencode(path)) <= LONGEST_SOCKET:
        return path
    folder = Path("/tmp") / f"studiolo-{_short(str(home))}"  # noqa: S108  TMPDIR may be long itself; checked below
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise Denied(
            f"{folder} is not ours alone: no engine may listen there", hint="remove it or shorten STUDIOLO_HOME"
        )
    return folder / f"{_short(key)}.sock"


def read(path: Path) -> Replica | None:
    """Return the replica of a record; None where there is none that can be read."""
    try:
        return Replica(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _start(
    home: Path, key: str, deployment: Deployment, launch: Launch
) -> tuple[Replica, subprocess.Popen[bytes] | None]:
    found = _planned(home, key, deployment, launch)
    if found.socket:
        Path(found.socket).unlink(missing_ok=True)
    with Path(found.log).open("ab") as output:
        process = subprocess.Popen(
            [*launch.command, *_place(found, launch)],
            cwd=home,
            env=_environment(found, launch),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    who = identity_of(process.pid) or Identity(process.pid, 0.0)  # gone already: its log says why
    replica = replace(found, pid=who.pid, started_at=who.started_at)
    try:
        return kept(home, replica), process
    except Unavailable:
        stop(replica)  # nobody would find it again
        raise


def _planned(home: Path, key: str, deployment: Deployment, launch: Launch) -> Replica:
    """The replica before its process is there."""
    log = _log(home, key)
    return Replica(
        key=key,
        pid=0,
        started_at=0.0,
        socket=str(socket_path(home, key)) if launch.socket_option else "",
        model=deployment.model,
        log=str(log),
        log_start=log.stat().st_size if log.exists() else 0,
        engine=deployment.engine,
        port=0 if launch.socket_option else _free_port(),
        secret=secrets.token_urlsafe(32) if launch.key_variable else "",
        host=launch.host,
        health=launch.health,
        loading=launch.loading,
        drain=launch.drain,
        memory=launch.memory,
        device=launch.device,
        sleep=launch.sleep,
        wake=launch.wake,
        adapters=None if launch.adapters is None else dict(launch.adapters),
        since=time.time(),
    )


def _log(home: Path, key: str) -> Path:
    log = home / "logs" / f"engine-{key}.log"
    log.parent.mkdir(mode=0o700, exist_ok=True)
    if log.exists() and log.stat().st_size > LONGEST_LOG:
        log.replace(log.with_suffix(".log.old"))
    return log


def _place(replica: Replica, launch: Launch) -> list[str]:
    return [launch.socket_option, replica.socket] if replica.socket else [launch.port_option, str(replica.port)]


def _environment(replica: Replica, launch: Launch) -> dict[str, str]:
    passed = {name: os.environ[name] for name in _PASSED if name in os.environ}
    key = {launch.key_variable: replica.secret} if launch.key_variable else {}
    return passed | _QUIET | dict(launch.environment) | key


def _sweep(replica: Replica) -> None:
    """Kill what is left of the session that an engine led; another process of its number is let alone."""
    now = identity_of(replica.pid)
    if replica.pid <= 0 or (now is not None and now.started_at != replica.started_at):
        return
    for pid in session(replica.pid):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 5.0
    while replica.alive and time.monotonic() < deadline:
        time.sleep(0.01)


def session(leader: int) -> Iterator[int]:
    """Yield the processes of the session that a process leads."""
    for pid in psutil.pids():
        try:
            if os.getsid(pid) == leader:
                yield pid
        except (ProcessLookupError, PermissionError):
            continue


def _free_port() -> int:
    with sockets.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]

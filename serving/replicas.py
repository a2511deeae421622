"""The engine processes behind the gateway: started on first need, found again after a restart, stopped when told to.

An engine lives in a session of its own and outlasts the gateway that started it. Its record, `services/engine-*.json`,
names it by process number and start time: the next gateway, or a second one, adopts it and loads nothing twice.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import stat
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from serving.endpoints import Deployment
from workspace.errors import Denied, Unavailable
from workspace.home import Workspace
from workspace.paths import locked, write_atomically
from workspace.processes import Identity, identity_of, is_alive

LONGEST_SOCKET = 100  # characters; the kernel takes 107
GRACE = 5.0  # seconds between SIGTERM and SIGKILL
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """One engine process: who it is, where it listens, what it serves."""

    key: str
    pid: int
    started_at: float  # as in `workspace.processes.Identity`
    socket: str
    model: str
    log: str
    log_start: int  # where in the log this process began

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


def key_of(deployment: Deployment) -> str:
    """Return which engine serves a deployment; those of the same model and options share one."""
    options = _options(deployment)
    text = deployment.model.removeprefix("model:").replace(":", "-")
    mark = hashlib.sha256(json.dumps([deployment.model, options]).encode()).hexdigest()[:8]
    return f"{text[:80]}-{mark}" if options or len(text) > 80 else text


def adopt_or_start(workspace: Workspace, deployment: Deployment) -> tuple[Replica, subprocess.Popen[bytes] | None]:
    """Return the engine of the deployment; the process too where it was started here, for its starter to reap.

    Any number of gateways may ask at once: one starts it, the others adopt it.
    """
    key = key_of(deployment)
    folder = workspace.home / "services"
    folder.mkdir(mode=0o700, exist_ok=True)
    model = workspace.assets.get("model", deployment.model)
    content = workspace.assets.path(model)
    with locked(folder / f"engine-{key}.lock"):
        found = _read(folder / f"engine-{key}.json")
        if found and found.alive:
            return found, None
        settings = workspace.settings
        options = {"threads": settings.threads, "dtype": settings.dtype} | _options(deployment)
        command = [sys.executable, "-P", "-m", f"serving.engines.{deployment.engine}", "--model", str(content)]
        command += ["--name", model.name, "--task", str(model.properties.get("task", "chat"))]
        for name, value in options.items():
            command += [f"--{name}", str(value)] if value else []
        return _start(workspace.home, key, deployment.model, command)


def living(home: Path) -> list[Replica]:
    """Return the engines of a workspace that run now."""
    found = [_read(path) for path in sorted((home / "services").glob("engine-*.json"))]
    return [replica for replica in found if replica and replica.alive]


def stop(replica: Replica) -> None:
    """End an engine: kindly, then by force; the next request would start it again."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if not replica.alive:
            break
        try:
            os.killpg(replica.pid, number)  # it leads a session of its own
        except ProcessLookupError:
            break
        deadline = time.monotonic() + GRACE
        while replica.alive and time.monotonic() < deadline:
            time.sleep(0.02)
    Path(replica.socket).unlink(missing_ok=True)


def stop_all(home: Path) -> int:
    """End every engine of a workspace and return how many there were."""
    found = living(home)
    for replica in found:
        stop(replica)
    return len(found)


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


def _start(home: Path, key: str, model: str, command: list[str]) -> tuple[Replica, subprocess.Popen[bytes]]:
    socket = socket_path(home, key)
    socket.unlink(missing_ok=True)
    log = home / "logs" / f"engine-{key}.log"
    log.parent.mkdir(mode=0o700, exist_ok=True)
    with log.open("ab") as output:
        log_start = output.tell()
        process = subprocess.Popen(
            [*command, "--socket", str(socket)],
            cwd=home,
            env={name: os.environ[name] for name in _PASSED if name in os.environ} | _QUIET,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    who = identity_of(process.pid) or Identity(process.pid, 0.0)  # gone already: its log says why
    replica = Replica(
        key=key,
        pid=who.pid,
        started_at=who.started_at,
        socket=str(socket),
        model=model,
        log=str(log),
        log_start=log_start,
    )
    try:
        write_atomically(home / "services" / f"engine-{key}.json", json.dumps(asdict(replica)))
    except Unavailable:
        stop(replica)  # nobody would find it again
        raise
    return replica, process


def _read(path: Path) -> Replica | None:
    try:
        return Replica(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _options(deployment: Deployment) -> dict[str, Any]:
    return {name: deployment.properties[name] for name in ("threads", "dtype") if deployment.properties.get(name)}


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]

"""The services of the house: what each is, how it is started, and the record of who runs now."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import psutil

from workspace.errors import Unavailable
from workspace.paths import write_atomically
from workspace.processes import Identity, is_alive
from workspace.settings import Settings, variable

HOST = "127.0.0.1"
State = Literal["starting", "ready", "waiting", "failed", "stopped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One process that `studiolo up` keeps alive; it answers `GET /health` on its port when it is ready."""

    name: str
    title: str
    port: int
    command: tuple[str, ...]

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://{HOST}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceRecord:
    """What the supervisor last wrote about a service; `since` is when its process started."""

    name: str
    title: str
    port: int
    state: State
    pid: int = 0
    started_at: float = 0.0
    since: float = 0.0
    restarts: int = 0
    message: str = ""

    @property
    def identity(self) -> Identity:
        """Who the process is, so that a number used again is never taken for it."""
        return Identity(self.pid, self.started_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """The supervisor and its services as the record file tells them."""

    identity: Identity
    services: tuple[ServiceRecord, ...]

    @property
    def standing(self) -> bool:
        """Whether the supervisor lives."""
        return is_alive(self.identity)


def services(home: Path, settings: Settings) -> tuple[Service, ...]:
    """Return the four services of a workspace, in the order in which they are started."""
    plan = (
        ("gateway", "the gateway", "serving.gateway", settings.gateway_port),
        ("control", "the control plane", "studiolo.control", settings.control_port),
        ("studio", "the studio", "app.server", settings.studio_port),
        ("mlflow", "MLflow", "studiolo.tracking_server", settings.mlflow_port),
    )
    return tuple(
        Service(
            name=name,
            title=title,
            port=port,
            command=(sys.executable, "-m", module, "--home", str(home), "--port", str(port)),
        )
        for name, title, module, port in plan
    )


def read_house(home: Path) -> House | None:
    """Return what was last recorded about the services of a workspace, or None where it was never started."""
    content = _read_json(_house_file(home))
    if content is None:
        return None
    return House(
        identity=Identity(content["pid"], content["started_at"]),
        services=tuple(ServiceRecord(**each) for each in content["services"]),
    )


def write_house(home: Path, house: House) -> None:
    """Keep the record, so that `status`, `down` and the next `up` find every process again."""
    content = {**asdict(house.identity), "services": [asdict(each) for each in house.services]}
    write_atomically(_house_file(home), json.dumps(content, indent=1))


def answers(port: int) -> bool:
    """Whether the service on this port says that it is healthy."""
    connection = http.client.HTTPConnection(HOST, port, timeout=2)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def check_ports(wanted: tuple[Service, ...]) -> None:
    """Raise Unavailable naming the port that is taken, who holds it, and the variable that chooses another."""
    for service in wanted:
        if not is_free(service.port):
            raise Unavailable(
                f"port {service.port} of {service.title} is taken by {holder(service.port)}",
                hint=f"stop it, or choose another port: {variable(service.name + '_port')}={service.port + 100}",
            )


def is_free(port: int) -> bool:
    """Whether a service could listen on this port of the loopback address."""
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((HOST, port))
        except OSError:
            return False
    return True


def holder(port: int) -> str:
    """Return who listens on a port, in words."""
    with contextlib.suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
                return f"{psutil.Process(connection.pid).name()!r} (pid {connection.pid})"
    return "a process of another user"


def end(identities: list[Identity], *, patience: float) -> None:
    """End processes and the groups they lead: asked first, made to after `patience` seconds."""
    waiting = [who for who in identities if is_alive(who)]
    for who in waiting:
        _signal(who, signal.SIGTERM)
    deadline = time.monotonic() + patience
    while waiting and time.monotonic() < deadline:
        time.sleep(0.05)
        waiting = [who for who in waiting if is_alive(who)]
    for who in waiting:
        _signal(who, signal.SIGKILL)


def _signal(who: Identity, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if os.getpgid(who.pid) == who.pid:
            os.killpg(who.pid, number)
        else:
            os.kill(who.pid, number)


def _house_file(home: Path) -> Path:
    return home / "services" / "supervisor.json"


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) and "pid" in content else None

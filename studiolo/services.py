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
from collections.abc import Iterator
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


def engines(home: Path) -> list[dict[str, Any]]:
    """Return the records of the engines that live now; the gateway writes them."""
    found = []
    for path in sorted((home / "services").glob("engine-*.json")):
        content = _read_json(path)
        if content is not None and is_alive(Identity(content["pid"], content["started_at"])):
            found.append(content | {"name": content.get("name", path.stem.removeprefix("engine-"))})
    return found


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


def end_engines(home: Path) -> int:
    """End the engines of a workspace; return how many there were."""
    living = [Identity(each["pid"], each["started_at"]) for each in engines(home)]
    end(living, patience=5.0)
    for path in (home / "services").glob("engine-*.json"):
        path.unlink(missing_ok=True)
    return len(living)


def describe(home: Path) -> dict[str, Any]:
    """Return what runs in a workspace, as `studiolo status --json` and `GET /api/status` show it."""
    house = read_house(home)
    standing = house is not None and house.standing
    return {
        "home": str(home),
        "running": standing,
        "supervisor": house.identity.pid if house and standing else None,
        "services": list(_described(house)) if house and standing else [],
        "engines": [_with_memory(each) for each in engines(home)],
    }


def _described(house: House) -> Iterator[dict[str, Any]]:
    for each in house.services:
        alive = is_alive(each.identity)
        yield {
            "name": each.name,
            "title": each.title,
            "state": each.state if alive or each.state in ("waiting", "failed") else "waiting",
            "url": f"http://{HOST}:{each.port}",
            "port": each.port,
            "pid": each.pid if alive else None,
            "seconds": round(time.time() - each.since, 1) if alive else None,
            "memory": _memory(each.pid) if alive else None,
            "restarts": each.restarts,
            "message": each.message,
        }


def _with_memory(engine: dict[str, Any]) -> dict[str, Any]:
    return {**engine, "memory": _memory(engine["pid"])}


def _memory(pid: int) -> int | None:
    try:
        process = psutil.Process(pid)
        family = (process, *process.children(recursive=True))
        return sum(int(each.memory_info().rss) for each in family)
    except psutil.Error:
        return None


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

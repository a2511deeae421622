"""What runs in a workspace now: the services, the engines, and what they take."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import psutil

from serving import service
from serving.replicas import Replica, living, memory
from studiolo.services import HOST, House, read_house
from workspace.processes import is_alive

PATIENCE = 2.0  # seconds for the gateway to say what its engines do


def describe(home: Path) -> dict[str, Any]:
    """Return what runs in a workspace, as `studiolo status --json` and `GET /api/status` show it."""
    house = read_house(home)
    standing = house is not None and house.standing
    told = _told(home)
    return {
        "home": str(home),
        "running": standing,
        "supervisor": house.identity.pid if house and standing else None,
        "services": list(_services(house)) if house and standing else [],
        "engines": [_engine(each, told.get(each.key, {})) for each in living(home)],
    }


def _services(house: House) -> Iterator[dict[str, Any]]:
    for each in house.services:
        alive = is_alive(each.identity)
        yield {
            "name": each.name,
            "title": each.title,
            "state": "waiting" if not alive and each.state in ("starting", "ready") else each.state,
            "url": f"http://{HOST}:{each.port}",
            "port": each.port,
            "pid": each.pid if alive else None,
            "seconds": round(time.time() - each.since, 1) if alive else None,
            "memory": _memory(each.pid) if alive else None,
            "restarts": each.restarts,
            "message": each.message,
        }


def _engine(replica: Replica, told: Mapping[str, Any]) -> dict[str, Any]:
    try:
        seconds = round(time.time() - psutil.Process(replica.pid).create_time(), 1)
    except psutil.Error:
        seconds = None
    return {
        "name": replica.key,
        "engine": replica.engine,
        "model": replica.model,
        "state": told.get("state") or ("asleep" if replica.asleep else "running"),
        "pid": replica.pid,
        "seconds": seconds,
        "memory": memory(replica) or None,
        "queue": told.get("queue"),
    }


def _told(home: Path) -> dict[str, Any]:
    """What the gateway says of its engines, by name; nothing where none runs or it does not answer."""
    found = service.running(home)
    if found is None:
        return {}
    connection = HTTPConnection(HOST, found.port, timeout=PATIENCE)
    try:
        connection.request("GET", "/health")
        engines = json.loads(connection.getresponse().read())["engines"]
    except (OSError, HTTPException, ValueError, KeyError):
        return {}
    finally:
        connection.close()
    return {each["name"]: each for each in engines}


def _memory(pid: int) -> int | None:
    try:
        process = psutil.Process(pid)
        family = (process, *process.children(recursive=True))
        # An engine is its gateway's child, in a session of its own, and is told of apart.
        return sum(int(each.memory_info().rss) for each in family if os.getsid(each.pid) == os.getsid(pid))
    except (psutil.Error, ProcessLookupError):
        return None

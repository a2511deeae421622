"""What a gateway asks of an engine beside the requests of clients: whether it answers, is at work, sleeps or wakes."""

from __future__ import annotations

import json
from typing import Any

from serving import upstream
from serving.group import address_of
from serving.replicas import Replica
from workspace.errors import StudioloError

TIMEOUT = 2.0  # seconds; a probe's usual patience
SWAPPING = 60.0  # seconds for weights to leave a GPU or come back


async def answers(replica: Replica, *, seconds: float = TIMEOUT) -> bool:
    """Whether the engine says that it is well."""
    return (await _asked(replica, "GET", replica.health, seconds))[0] == 200


async def at_work(replica: Replica) -> bool:
    """Whether the engine itself says that it works on something; one that does not tell is believed to rest."""
    status, body = await _asked(replica, "GET", replica.health, TIMEOUT)
    try:
        told = json.loads(body) if status == 200 and body.startswith(b"{") else {}
    except ValueError:
        return False
    return any(isinstance(told.get(name), int) and told[name] > 0 for name in ("active", "waiting"))


async def put_to_sleep(replica: Replica) -> bool:
    """Have the engine give back its memory; whether it did."""
    return bool(replica.sleep) and (await _asked(replica, "POST", replica.sleep, SWAPPING))[0] == 200


async def wake(replica: Replica) -> bool:
    """Have the engine take its memory again; whether it did."""
    return (await _asked(replica, "POST", replica.wake, SWAPPING))[0] == 200


async def posted(replica: Replica, path: str, value: Any, *, seconds: float = SWAPPING) -> tuple[int, bytes]:
    """Send JSON to one of the engine's own routes and return its status and answer."""
    return await _asked(replica, "POST", path, seconds, json.dumps(value).encode())


async def _asked(replica: Replica, method: str, path: str, seconds: float, body: bytes = b"") -> tuple[int, bytes]:
    """Return the status and the answer; status 0 where there is none."""
    try:
        answer = await upstream.send(address_of(replica), method, path, body=body)
        try:
            await answer.head(seconds)
            return answer.status, await answer.body(seconds)
        finally:
            answer.close()
    except StudioloError:
        return 0, b""

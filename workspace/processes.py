"""Who a process is, so that a number used again after its death is never taken for it."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Identity:
    """A process of this machine: its number and when it started.

    The start counts from the machine's boot, not from 1970: a changed clock makes no process look dead. It is for
    comparing, not for showing.
    """

    pid: int
    started_at: float


def own_identity() -> Identity:
    """Return who this process is."""
    pid = os.getpid()
    return Identity(pid, _started_at(pid) or 0.0)


def identity_of(pid: int) -> Identity | None:
    """Return who has this number now, or None where nobody living has it."""
    started_at = _started_at(pid) if pid > 0 else None
    return None if started_at is None else Identity(pid, started_at)


def is_alive(who: Identity) -> bool:
    """Whether this very process still runs on this machine; one that ended but was not waited for does not."""
    return who.pid > 0 and _started_at(who.pid) == who.started_at


def host() -> str:
    """Return the name under which this machine signs what it writes; an Identity means nothing on another one."""
    return socket.gethostname() or "localhost"


def boot() -> str:
    """Return which boot of this machine we are in: numbers and starts of processes count from there."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        import psutil

        return f"{psutil.boot_time():.0f}"


def _started_at(pid: int) -> float | None:
    if not Path("/proc/self/stat").exists():
        return _started_at_elsewhere(pid)
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    # The second field, the command in parentheses, may hold spaces and parentheses itself.
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZXx" else float(fields[19])


def _started_at_elsewhere(pid: int) -> float | None:
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else float(process.create_time())
    except psutil.Error:
        return None


def owned() -> dict[str, Any]:
    """Return what makes a row of the database this process's own."""
    own = own_identity()
    return {"owner_host": host(), "owner_pid": own.pid, "owner_started_at": own.started_at}

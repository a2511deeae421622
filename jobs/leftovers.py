"""What a job leaves behind: its descendants, and whoever carries its mark, in whatever session or group."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

MARKER = "STUDIOLO_ATTEMPT"  # in the environment of every descendant
SHIM = "studiolo-shim"  # what a shim calls itself: the shim of another job is nobody's leftover
_OURS = (b"-m\0jobs.shim\0", b"-m\0jobs.reconcile\0")  # and how it is started, before it can say so
KEPT = "STUDIOLO_KEPT"  # in the environment of what a job has started for all: MLflow's server
PATIENCE = 5.0  # seconds for processes to be gone that were killed


def mark(run_id: str, number: int) -> str:
    """Return the mark of one attempt; no two attempts, also of two workspaces, have the same."""
    return f"{run_id}.{number}"


def marked(value: str) -> list[int]:
    """Return the living processes with this mark."""
    wanted = f"{MARKER}={value}".encode()
    return [pid for pid in _numbers() if wanted in _environment(pid)]


def end_marked(value: str) -> int:
    """Kill every process with this mark; return how many there were."""
    wanted = f"{MARKER}={value}".encode()
    ended, deadline = 0, time.monotonic() + PATIENCE
    while time.monotonic() < deadline and (found := marked(value)):
        for pid in found:
            with _held(pid) as handle:
                # Asked again, now that the number cannot become another process.
                if handle is not None and wanted in _environment(pid):
                    signal.pidfd_send_signal(handle, signal.SIGKILL)
                    ended += 1
        time.sleep(0.005)
    return ended


def descendants(root: int) -> list[int]:
    """Return the living processes under `root`, without other jobs' shims and what is under them."""
    children: dict[int, list[int]] = {}
    for pid in _numbers():
        parent, state, name = _status(pid)
        if state not in "ZX" and not _is_ours(pid, name):
            children.setdefault(parent, []).append(pid)
    found, waiting = [], [root]
    while waiting:
        waiting = [child for pid in waiting for child in children.get(pid, ())]
        found += waiting
    return found


def end_descendants(root: int) -> int:
    """Kill every process under `root`; return how many there were."""
    found = descendants(root)
    for pid in found:
        with _held(pid) as handle:
            if handle is not None and _status(pid)[0] in (root, *found):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
    return len(found)


@contextmanager
def _held(pid: int) -> Iterator[int | None]:
    try:
        handle = os.pidfd_open(pid)
    except OSError:  # it has ended
        yield None
        return
    try:
        yield handle
    except ProcessLookupError:
        return
    finally:
        os.close(handle)


def _numbers() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]  # noqa: PTH208  as below


def _environment(pid: int) -> list[bytes]:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:  # noqa: PTH123  hundreds of times: a Path costs more than it
            return file.read().split(b"\0")
    except OSError:  # it has ended, or is somebody else's
        return []


def _is_ours(pid: int, name: str) -> bool:
    if name == SHIM or not name.startswith("python"):
        return name == SHIM
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:  # noqa: PTH123
            line = file.read()
    except OSError:
        return False
    return any(words in line for words in _OURS) or f"{KEPT}=1".encode() in _environment(pid)


def _status(pid: int) -> tuple[int, str, str]:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123
            text = file.read().decode(errors="replace")
    except OSError:
        return 0, "X", ""
    head, _, tail = text.rpartition(")")
    fields = tail.split()
    return int(fields[1]), fields[0], head.partition("(")[2]

"""Shims that have no job for a moment: whoever submits the next one wakes one, which is quicker than a new one."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from workspace.processes import Identity, is_alive, own_identity

LINGER = 2.0  # seconds


def wait(home: Path, seconds: float = LINGER) -> bool:
    """Wait for work; return whether somebody has called. Then nobody else was called for it."""
    folder = home / "jobs" / "idle"
    own = own_identity()
    card = folder / f"{own.pid}-{own.started_at:.0f}"
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        card.touch(mode=0o600)
        if signal.sigtimedwait({signal.SIGUSR1}, seconds) is not None:
            return True
        card.unlink()
    except FileNotFoundError:
        return True  # the card was taken at this moment: a call is on its way
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})
    return False


def wake(home: Path) -> bool:
    """Call one shim that waits; return whether there was one."""
    folder = home / "jobs" / "idle"
    for card in folder.iterdir() if folder.exists() else ():
        pid, _, started_at = card.name.partition("-")
        try:
            card.unlink()
        except FileNotFoundError:
            continue  # somebody else was quicker, or it waits no longer
        if knock(Identity(int(pid), float(started_at))):
            return True
    return False


def knock(who: Identity) -> bool:
    """Send a process the signal that shims listen to, and no other that has its number now; return whether it lives."""
    try:
        handle = os.pidfd_open(who.pid)
    except OSError:
        return False  # it has ended
    try:
        if not is_alive(who):
            return False
        signal.pidfd_send_signal(handle, signal.SIGUSR1)
    finally:
        os.close(handle)
    return True

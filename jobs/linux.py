"""What the kernel is asked for that Python has no words for: whose children are whose, and who sees which files."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Mapping
from pathlib import Path

_PDEATHSIG, _NAME, _SUBREAPER = 1, 15, 36
_NEW_MOUNTS, _NEW_USER = 0x20000, 0x10000000
_READ_ONLY, _REMOUNT, _BIND, _RECURSIVE, _PRIVATE = 1, 32, 4096, 16384, 1 << 18
# What a mount has already must be said again where its flags are changed: statvfs's word and mount's.
_KEPT = ((2, 2), (4, 4), (8, 8), (1024, 1024), (2048, 2048), (4096, 1 << 21))


def adopt_orphans() -> None:
    """Be the parent of every descendant whose own parent ends, so that none gets lost."""
    _called(_libc().prctl(_SUBREAPER, 1, 0, 0, 0))


def call_itself(name: str) -> None:
    """Show this name, of 15 letters at most, in lists of processes."""
    _called(_libc().prctl(_NAME, name.encode()[:15], 0, 0, 0))


def die_with(parent: int) -> None:
    """Be killed when the parent ends; at once where it has ended already."""
    _called(_libc().prctl(_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0))
    if os.getppid() != parent:
        os._exit(1)


def show_read_only(places: Mapping[Path, Path]) -> None:
    """Show at each place another file or folder, in this process and those it starts, where nobody can write to it.

    Raises OSError where the kernel does not let us; then nothing has changed for anybody else.
    """
    libc = _libc()
    user, group = os.geteuid(), os.getegid()
    if libc.unshare(_NEW_MOUNTS) != 0:
        _called(libc.unshare(_NEW_MOUNTS | _NEW_USER))
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    _called(libc.mount(b"none", b"/", None, _RECURSIVE | _PRIVATE, None))
    for target, source in places.items():
        there = bytes(target)
        _called(libc.mount(bytes(source), there, None, _BIND | _RECURSIVE, None))
        flags = os.statvfs(target).f_flag
        kept = sum(mounts for has, mounts in _KEPT if flags & has)
        _called(libc.mount(None, there, None, _BIND | _REMOUNT | _READ_ONLY | kept, None))


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _called(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))

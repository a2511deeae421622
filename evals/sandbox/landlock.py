"""Which files a program may see where it cannot have a world of its own: Landlock; needs the standard library alone."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable

_CREATE, _ADD, _RESTRICT = 444, 445, 446  # the numbers of its system calls on every machine
_VERSION, _BENEATH = 1, 1
_EXECUTE, _WRITE, _READ, _LIST = 1, 2, 4, 8
_ALL = (1 << 13) - 1  # of the first version
_NEVER = 1 << 6 | 1 << 9 | 1 << 11  # devices and sockets are made nowhere
_SINCE = ((2, 1 << 13), (3, 1 << 14), (5, 1 << 15))  # moving, truncating, commands to devices
_OF_FILES = _EXECUTE | _WRITE | _READ | (1 << 14) | (1 << 15)
_NO_NEW_PRIVILEGES = 38


def allow_only(*, read: Iterable[str], write: Iterable[str]) -> bool:
    """Let this process, and all it starts, read and run what lies in some places, and write in others.

    Returns False where the kernel has no Landlock.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    version = libc.syscall(_CREATE, None, ctypes.c_size_t(0), _VERSION)
    if version < 1 or libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) != 0:
        return False
    handled = _ALL | sum(right for since, right in _SINCE if version >= since)
    rules = libc.syscall(_CREATE, struct.pack("Q", handled), ctypes.c_size_t(8), 0)
    if rules < 0:
        return False
    try:
        for places, rights in ((read, _EXECUTE | _READ | _LIST), (write, handled & ~_NEVER)):
            for place in places:
                _allow(libc, rules, place, rights & handled)
        return bool(libc.syscall(_RESTRICT, rules, 0) == 0)
    finally:
        os.close(rules)


def _allow(libc: ctypes.CDLL, rules: int, place: str, rights: int) -> None:
    if not os.path.exists(place):  # noqa: PTH110 - no more imports than needed
        return
    opened = os.open(place, os.O_PATH | os.O_CLOEXEC)
    try:
        allowed = rights if os.path.isdir(place) else rights & _OF_FILES  # noqa: PTH112
        if libc.syscall(_ADD, rules, _BENEATH, struct.pack("=Qi", allowed, opened), 0) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
    finally:
        os.close(opened)

"""The process that shuts itself in and then becomes the foreign program; needs the standard library alone.

It is a script of its own: what it is told is JSON on the command line, what held is JSON on a pipe.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import resource
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

_PDEATHSIG, _SUBREAPER, _DROP = 1, 36, 24
_MOUNTS, _UTS, _IPC, _USER, _PIDS, _NETWORK = 0x20000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
_READ_ONLY, _NO_SUID, _NO_DEVICES, _NO_EXEC, _REMOUNT, _BIND = 1, 2, 4, 8, 32, 4096
_RECURSIVE, _PRIVATE, _DETACH = 16384, 1 << 18, 2
_PIVOT = {"x86_64": 155, "aarch64": 41}
_SYSTEM = ("/usr", "/bin", "/lib", "/lib64", "/lib32", "/etc/ld.so.cache", "/etc/alternatives", "/etc/localtime")
_DEVICES = ("null", "zero", "full", "random", "urandom")
_WORK, _GIVEN = "/run/work", "/run/given"
REFUSED = 97  # the exit where what must hold does not

libc = ctypes.CDLL(None, use_errno=True)


def confine(told: dict[str, Any]) -> None:
    """Shut this process in and run the program; returns never."""
    _die_with_parent()
    apart = _go_apart(network=told["network"])
    if not apart:
        libc.prctl(_SUBREAPER, 1, 0, 0, 0)
        code = _wait(_forked(lambda: _become(told, {"namespaces": False, "network": False, "files": False})))
        _end_orphans()
        os._exit(code)
    held = {"namespaces": True, "network": not told["network"], "files": True}
    os._exit(_wait(_forked(lambda: _first(told, held))))


def _first(told: dict[str, Any], held: dict[str, Any]) -> None:
    """The first process of its own world: when it ends, all others there end."""
    _die_with_parent(known=False)
    try:
        _own_files(told)
    except OSError as error:
        held |= {"files": False, "why": f"{type(error).__name__}: {error}"}
    os._exit(_wait(_forked(lambda: _become(told, held))))


def _become(told: dict[str, Any], held: dict[str, Any]) -> None:
    own_files = held["files"]
    if os.geteuid() == 0:  # what root has lost here it does not get again
        for capability in range(64):
            libc.prctl(_DROP, capability, 0, 0, 0)
    if os.geteuid() == 0 and own_files:
        os.setgroups([])
        os.setresgid(told["user"], told["user"], told["user"])
        os.setresuid(told["user"], told["user"], told["user"])
    _limit(told)
    if not held["files"]:
        read = (*_SYSTEM, *told["shown"], told["given"], *(f"/dev/{device}" for device in _DEVICES))
        held["files"] = told["allow_only"](read=read, write=(told["work"], "/dev/null"))
    held["system_calls"] = told["refuse"](sockets=not told["network"], signals=not held["namespaces"])
    held["network"] = held["network"] or (held["system_calls"] and not told["network"])
    os.write(told["held"], json.dumps(held).encode())
    os.close(told["held"])
    if not (held["network"] or told["network"]) or (os.geteuid() == 0 and not held["files"]):
        os._exit(REFUSED)
    place, given = (_WORK, _GIVEN) if own_files else (told["work"], told["given"])
    os.chdir(place)
    environment = {"HOME": place, "TMPDIR": place, "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHONHASHSEED": "0"}
    environment |= dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    os.execve(  # noqa: S606 - no shell
        told["python"], [told["python"], "-I", "-B", f"{given}/harness.py", given, str(told["report"])], environment
    )


def _go_apart(*, network: bool) -> bool:
    wanted = _MOUNTS | _PIDS | _IPC | _UTS | (0 if network else _NETWORK)
    if os.geteuid() == 0 and libc.unshare(wanted) == 0:
        return True
    user, group = os.geteuid(), os.getegid()
    if libc.unshare(wanted | _USER) != 0:
        return False
    with suppress(OSError):
        Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user or 65534} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{group or 65534} {group} 1")
    return True


def _own_files(told: dict[str, Any]) -> None:
    """See nothing but the system's programs and libraries, Python, what is given, and a small place to write."""
    root = told["root"]
    _mount("none", "/", flags=_RECURSIVE | _PRIVATE)
    room = f"size={told['disk']},nr_inodes={told['files'] + 400},mode=755"
    _mount("tmpfs", root, kind="tmpfs", flags=_NO_SUID | _NO_DEVICES, options=room)
    for shown in (*_SYSTEM, *told["shown"]):
        _show(shown, root)
    for device in _DEVICES:
        _show(f"/dev/{device}", root, flags=_NO_SUID | _NO_EXEC)
    _show(told["given"], root, at=_GIVEN)
    for place in (_WORK, "/tmp"):  # noqa: S108 - a folder of its own world
        Path(root + place).mkdir(exist_ok=True)
        Path(root + place).chmod(0o1777)
    Path(root + "/proc").mkdir()
    # Where even this is not allowed, as in some containers, there is no /proc.
    with suppress(OSError):
        _mount("proc", root + "/proc", kind="proc", flags=_NO_SUID | _NO_DEVICES | _NO_EXEC, options="subset=pid")
    os.chdir(root)
    _called(libc.syscall(_PIVOT[platform.machine()], b".", b"."))
    _called(libc.umount2(b".", _DETACH))
    os.chdir(_WORK)


def _show(path: str, root: str, *, at: str | None = None, flags: int = _READ_ONLY | _NO_SUID | _NO_DEVICES) -> None:
    source, target = Path(path), Path(root + (at or path))
    if target.exists() or target.is_symlink() or not source.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_symlink() and at is None:
        target.symlink_to(source.readlink())
        return
    if source.is_dir():
        target.mkdir()
    else:
        target.touch()
    _mount(path, str(target), flags=_BIND)
    # What the mount has already must be said again: a user of its own may not take it away.
    kept = os.statvfs(target).f_flag & (_READ_ONLY | _NO_SUID | _NO_DEVICES | _NO_EXEC)
    _mount(None, str(target), flags=_BIND | _REMOUNT | flags | kept)


def _limit(told: dict[str, Any]) -> None:
    limits = {
        resource.RLIMIT_AS: told["memory"],
        resource.RLIMIT_FSIZE: told["file_size"],
        resource.RLIMIT_NOFILE: 64,
        resource.RLIMIT_NPROC: told["processes"],
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 0,
    }
    for kind, most in limits.items():
        _, hard = resource.getrlimit(kind)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, most))
    resource.setrlimit(resource.RLIMIT_CPU, (told["cpu"], told["cpu"] + 1))


def _forked(inside: Callable[[], None]) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            inside()
        finally:
            os._exit(REFUSED)
    return pid


def _wait(pid: int) -> int:
    """Wait for that child, and for what else ends meanwhile; return its exit, 128 and more for signals."""
    while True:
        ended, status = os.wait()
        if ended == pid:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _end_orphans() -> None:
    """End what the program has left behind: whoever loses its parent becomes a child of this process."""
    while True:
        for folder in Path("/proc").iterdir():
            with suppress(OSError, ValueError):
                fields = (folder / "stat").read_text().rpartition(")")[2].split() if folder.name.isdecimal() else ()
                if fields and int(fields[1]) == os.getpid():
                    os.kill(int(folder.name), signal.SIGKILL)
        try:
            os.wait()
        except ChildProcessError:
            return


def _die_with_parent(*, known: bool = True) -> None:
    libc.prctl(_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if known and os.getppid() == 1:
        os._exit(REFUSED)


def _mount(source: str | None, target: str, *, kind: str | None = None, flags: int = 0, options: str = "") -> None:
    given = [None if each is None else each.encode() for each in (source, target, kind)]
    _called(libc.mount(given[0], given[1], given[2], ctypes.c_ulong(flags), options.encode() or None))


def _called(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


if __name__ == "__main__":
    told = json.loads(sys.argv[1])
    sys.path.insert(0, str(Path(__file__).parent))
    import landlock  # type: ignore[import-not-found]  # its neighbours: nothing else of ours is on this path
    import seccomp  # type: ignore[import-not-found]

    confine(told | {"refuse": seccomp.refuse, "allow_only": landlock.allow_only})

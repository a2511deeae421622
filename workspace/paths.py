"""Paths that stay where they belong, and files that are there whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote

from workspace.errors import Invalid, Unavailable

_DRIVE = re.compile(r"^[A-Za-z]:")
_MARKS = re.compile(r"[^\w.,@+=-]")


def safe_join(root: Path, relative: str) -> Path:
    """Return `root / relative`, resolved, or raise Invalid where it would leave `root`.

    Refused as well: absolute paths, drives, UNC, backslashes, NUL, `#`, percent-encoded escapes and links that
    lead out. This is the only place where a path from outside is joined to one of ours.
    """
    decoded = unquote(unquote(relative))
    parts = decoded.split("/")
    if (
        not relative
        or decoded.startswith(("/", "~"))
        or _DRIVE.match(decoded)
        or any(mark in decoded for mark in ("\\", "\0", "#"))
        or (decoded != relative and ".." in parts)
        or ".." in parts
    ):
        raise Invalid(f"path {relative!r} is not allowed", hint="give a path relative to the folder, without '..'")
    base = root.resolve()
    try:
        joined = (base / relative).resolve()
    except (OSError, RuntimeError, ValueError):
        raise Invalid(f"path {relative[:80]!r} leads nowhere", hint="its links go in a circle") from None
    if not joined.is_relative_to(base):
        raise Invalid(f"path {relative!r} leads out of its folder", hint="links may not point outside")
    return joined


def plain_name(name: str) -> str:
    """Return a name for a file of somebody else's: no folder, and nothing that a shell would act upon.

    >>> plain_name("rows (1).csv")
    'rows__1_.csv'
    """
    plain = _MARKS.sub("_", name)
    return plain if plain.strip(".") else "content"


def write_atomically(path: Path, content: bytes | str, *, mode: int = 0o600) -> None:
    """Write a file so that a reader sees the old content or the new one, also after a crash or a full disk."""
    raw = content.encode() if isinstance(content, str) else content
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        temporary = Path(name)
        with os.fdopen(handle, "wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(mode)
        temporary.replace(path)
    except OSError as error:
        if temporary:
            temporary.unlink(missing_ok=True)
        raise unwritable(path, error) from error


def unwritable(path: Path, error: OSError) -> Unavailable:
    """Return the error that says why `path` could not be written and what to try."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return Unavailable(f"no room left to write {path}", hint="free some space and try again: nothing kept is lost")
    return Unavailable(f"cannot write {path}: {error.strerror}", hint="run `studiolo doctor`")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what stops the block from writing to `path` (a full disk, a folder of somebody else) into an error of ours.

    >>> with writing(target):
    ...     target.mkdir(parents=True)
    """
    try:
        yield
    except OSError as error:
        raise unwritable(path, error) from error


@contextmanager
def locked(path: Path, *, patience: float | None = None) -> Iterator[None]:
    """Hold the lock file `path`, waiting for others; a process that dies lets go.

    Unavailable where others have not let go within `patience` seconds.
    """
    try:
        handle = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise unwritable(path, error) from error
    try:
        _lock(handle, path, patience)
        yield
    finally:
        # Said, and not left to close: a child forked meanwhile has the handle too and would keep the lock.
        fcntl.flock(handle, fcntl.LOCK_UN)
        os.close(handle)


def _lock(handle: int, path: Path, patience: float | None) -> None:
    if patience is None:
        fcntl.flock(handle, fcntl.LOCK_EX)
        return
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise Unavailable(f"{path.stem} is in use", hint="try again in a moment") from None
            time.sleep(0.01)
        else:
            return

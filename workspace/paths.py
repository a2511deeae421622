"""Paths that stay where they belong, and files that are there whole or not at all."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from urllib.parse import unquote

from workspace.errors import Invalid, Unavailable

_DRIVE = re.compile(r"^[A-Za-z]:")


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
    joined = (base / relative).resolve()
    if not joined.is_relative_to(base):
        raise Invalid(f"path {relative!r} leads out of its folder", hint="links may not point outside")
    return joined


def write_atomically(path: Path, content: bytes | str, *, mode: int = 0o600) -> None:
    """Write a file so that a reader sees the old content or the new one, also after a crash or a full disk."""
    raw = content.encode() if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise Unavailable(f"cannot write {path}: {error.strerror}", hint="run `studiolo doctor`") from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(mode)
        Path(temporary).replace(path)
    except OSError as error:
        Path(temporary).unlink(missing_ok=True)
        raise Unavailable(f"cannot write {path}: {error.strerror}", hint="run `studiolo doctor`") from error

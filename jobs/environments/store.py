"""Environments as they are kept: each in a folder named for what it holds, there whole or not at all."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from jobs.environments import pythons, spec
from jobs.environments.events import Waiting
from jobs.environments.pythons import Minor
from jobs.environments.spec import Spec
from workspace.errors import NotFound
from workspace.paths import unwritable, write_atomically, writing

READY = "studiolo.json"  # written last: without it the folder is not used
POLL = 0.1  # seconds between looks at a lock that another holds


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What is known of an environment: its Python, what was asked, what was said, and every package in it."""

    key: str
    python: str
    asked: str
    missing: bool  # whether the asked Python was not to be had then
    said: tuple[str, ...]
    packages: tuple[str, ...]  # name==version
    made_at: float
    seconds: float


def root(cache: Path) -> Path:
    """Return the folder of all environments."""
    return cache / "environments"


def place(cache: Path, key: str, minor: Minor) -> Path:
    """Return the folder of one: another Python is another folder, so that none is ever changed under a job."""
    return root(cache) / f"{key}-{pythons.text(minor)}"


def python_of(folder: Path) -> Path:
    """Return the Python of an environment."""
    return folder / "bin" / "python"


def find(cache: Path, asked: Spec, environ: Mapping[str, str]) -> Path | None:
    """Return the folder that has what is asked for; None where it is still to be made.

    One with another Python than the asked one serves as long as the asked one is not on this machine.
    """
    name = spec.key(asked)
    exact = pythons.exactly(asked.python)
    if exact and _whole(place(cache, name, exact)):
        return place(cache, name, exact)
    kept = [minor for minor in pythons.all_minors() if _whole(place(cache, name, minor))]
    if not kept:
        return None
    found = place(cache, name, pythons.nearest(asked.python, kept)[0])
    gone_by = exact and read(found).missing and exact in pythons.found(environ)
    return None if gone_by else found


def read(folder: Path) -> Record:
    """Return what is known of the environment in this folder."""
    try:
        known = json.loads((folder / READY).read_bytes())
    except FileNotFoundError:
        raise NotFound(f"no environment in {str(folder)!r}", hint="it was removed, or never whole") from None
    return Record(**known | {"said": tuple(known["said"]), "packages": tuple(known["packages"])})


def kept(cache: Path) -> list[tuple[Path, Record]]:
    """Return all environments of this cache, the one used last first."""
    folders = [path.parent for path in root(cache).glob(f"[!.]*/{READY}")]
    folders.sort(key=lambda folder: (folder / READY).stat().st_mtime, reverse=True)
    return [(folder, read(folder)) for folder in folders]


def remove(cache: Path, key: str) -> int:
    """Remove an environment, for whatever Pythons it was made; return how many folders that were."""
    folders = [path for path in root(cache).glob(f"{key}-*") if path.is_dir()]
    if not folders:
        raise NotFound(f"no environment {key!r}", hint="its key is the name of its folder")
    for folder in folders:
        _remove(folder)
    return len(folders)


def used(folder: Path) -> None:
    """Note that the environment is used now."""
    os.utime(folder / READY)


def take(cache: Path, key: str) -> Generator[Waiting, None, int]:
    """Take the lock of an environment, telling each second that another process holds it; return what to give back."""
    path = root(cache) / f"{key}.lock"
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    began = told = time.monotonic()
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(POLL)
                if time.monotonic() - told >= 1:
                    told = time.monotonic()
                    yield Waiting(told - began)
            else:
                return handle
    except BaseException:
        os.close(handle)
        raise


def give_back(handle: int) -> None:
    """Let go of a lock."""
    fcntl.flock(handle, fcntl.LOCK_UN)
    os.close(handle)


@contextmanager
def fresh(cache: Path, key: str) -> Iterator[Path]:
    """Give a folder to build in, which is gone afterwards unless it was kept; who calls holds the lock."""
    for left in root(cache).glob(f".{key}-*"):  # by one who was killed: what it started may still be at work
        from jobs.environments import steps

        steps.end_those_in(left)
        shutil.rmtree(left, ignore_errors=True)
    folder = root(cache) / f".{key}-{secrets.token_hex(4)}"
    try:
        yield folder
    finally:
        if folder.exists():
            shutil.rmtree(folder, ignore_errors=True)


def keep(folder: Path, target: Path, record: Record) -> None:
    """Put a finished folder in its place, whole at once."""
    write_atomically(folder / READY, json.dumps(asdict(record), indent=1))
    try:
        if target.exists():  # its Python is gone, or it has no record
            _remove(target)
        folder.replace(target)
    except OSError as error:
        raise unwritable(target, error) from error


def installed(folder: Path) -> tuple[str, ...]:
    """Return the packages of an environment as `name==version`, without starting its Python."""
    from importlib import metadata  # late: who only looks an environment up needs it not

    paths = [str(path) for path in folder.glob("lib/python*/site-packages")]
    found = {f"{each.metadata['Name']}=={each.version}" for each in metadata.distributions(path=paths)}
    return tuple(sorted(found, key=str.lower))


def _whole(folder: Path) -> bool:
    return (folder / READY).is_file() and python_of(folder).exists()


def _remove(folder: Path) -> None:
    """Out of sight first, so that nobody meets half of it."""
    gone = folder.with_name(f".{folder.name}-{secrets.token_hex(4)}")
    try:
        folder.replace(gone)
    except OSError as error:
        raise unwritable(folder, error) from error
    shutil.rmtree(gone, ignore_errors=True)

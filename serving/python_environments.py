"""The Python that has what a model or a script asks for: this one where it does, else an environment made by uv.

Environments are in the person's cache, named by the hash of what they hold, so that each is made once.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from serving.conda_files import Requirements
from workspace.errors import MissingExtra, Unavailable
from workspace.paths import locked, write_atomically
from workspace.settings import cache_folder

READY = "studiolo.json"  # written last: without it the environment is not whole
TOLD = 8  # lines of uv that explain a failure


@dataclass(frozen=True, slots=True)
class Preparing:
    """Something that happened while an environment was made."""

    text: str


@dataclass(frozen=True, slots=True)
class Ready:
    """The Python to run with."""

    python: Path


def unsatisfied(requirements: Requirements) -> list[str]:
    """Return what this Python lacks of the requirements: none means that it can be used.

    >>> unsatisfied(Requirements(packages=("packaging>=1", "no-such-package")))
    ['no-such-package']
    """
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    found = [f"python {requirements.python}"] if requirements.python not in ("", here) else []
    return found + [line for line in requirements.packages if not _has(line)]


def find(requirements: Requirements) -> Path | None:
    """Return the Python that has them, or None where an environment is still to be made."""
    if not unsatisfied(requirements):
        return Path(sys.executable)
    place = folder(requirements)
    return _python(place) if (place / READY).is_file() and _python(place).exists() else None


def prepare(requirements: Requirements) -> Iterator[Preparing | Ready]:
    """Find or make the environment; the last event is Ready. One that was begun and not ended is made anew."""
    if found := find(requirements):
        yield Ready(found)
        return
    uv = _uv()
    place = folder(requirements)
    place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with locked(place.with_suffix(".lock")):
        if (found := find(requirements)) is None:
            shutil.rmtree(place, ignore_errors=True)
            yield Preparing(f"making an environment for {', '.join(unsatisfied(requirements)[:3])}")
            version = requirements.python or f"{sys.version_info.major}.{sys.version_info.minor}"
            yield from _run([uv, "venv", "--quiet", "--python", version, str(place)])
            if requirements.packages:
                command = [uv, "pip", "install", "--python", str(_python(place)), *requirements.packages]
                yield from _run(command)
            write_atomically(place / READY, json.dumps({"packages": requirements.packages}))
            found = _python(place)
    yield Ready(found)


def folder(requirements: Requirements) -> Path:
    """Return where the environment of these requirements is, or would be."""
    asked = [requirements.python, sorted(line.lower().replace(" ", "") for line in requirements.packages), sys.platform]
    return cache_folder() / "environments" / hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]


def _has(line: str) -> bool:
    try:
        asked = Requirement(line.split(" --")[0].split(" #")[0])
    except InvalidRequirement:
        return False  # a file, a URL, an option of pip
    if asked.marker is not None and not asked.marker.evaluate():
        return True
    try:
        return asked.specifier.contains(metadata.version(_installed_as(asked.name)), prereleases=True)
    except metadata.PackageNotFoundError:
        return False


def _installed_as(name: str) -> str:
    # A build for CPUs alone is the same package under another name.
    if canonicalize_name(name) == "xgboost":
        try:
            metadata.version(name)
        except metadata.PackageNotFoundError:
            return "xgboost-cpu"
    return name


def _python(place: Path) -> Path:
    return place / "bin" / "python"


def _uv() -> str:
    beside = Path(sys.executable).with_name("uv")
    if found := str(beside) if beside.exists() else shutil.which("uv"):
        return found
    raise MissingExtra("an environment of its own", hint="pip install uv")


def _run(command: Sequence[str]) -> Iterator[Preparing]:
    said: list[str] = []
    with subprocess.Popen(
        command, env=os.environ | {"NO_COLOR": "1"}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        errors="replace",
    ) as process:  # fmt: skip
        try:
            for line in process.stdout or ():
                said = [*said[-TOLD:], line.rstrip()]
                if line.strip():
                    yield Preparing(line.strip())
        except BaseException:  # the caller stops asking: nothing goes on in the background
            process.kill()
            raise
    if process.returncode:
        words = "\n".join(said)
        raise Unavailable(f"the environment could not be made:\n{words}", hint="is the package index reachable?")

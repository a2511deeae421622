"""uv, which makes virtual environments: where it is, running it line by line, and what its refusals mean."""

from __future__ import annotations

import os
import re
import selectors
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

import psutil

from jobs.environments.events import Preparing, Waiting
from workspace.errors import MissingExtra, StudioloError, Unavailable

TICK = 1.0  # seconds of silence after which that is said
TOLD = 400  # characters of a refusal that a person is shown
# pip's own settings serve uv too, where uv has none.
_AS_PIP = {
    "UV_FIND_LINKS": "PIP_FIND_LINKS", "UV_DEFAULT_INDEX": "PIP_INDEX_URL", "UV_INDEX": "PIP_EXTRA_INDEX_URL",
    "UV_HTTP_TIMEOUT": "PIP_DEFAULT_TIMEOUT", "SSL_CERT_FILE": "PIP_CERT",
}  # fmt: skip
_REACH = re.compile(r"error sending request|dns error|failed to fetch|failed to download|connection|timed? ?out", re.I)
_FULL = re.compile(r"no space left on device|disk quota", re.I)
_NOWHERE = re.compile(r"there (?:is|are) no versions? of|was not found in the (?:package registry|provided)")
_ELSEWHERE = re.compile(r"usable wheels|matching Python|Python version|does not satisfy Python|ailed to build")


class CannotBe(Exception):
    """Packages that cannot stand together on this Python. `nowhere`: on no other either."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.nowhere = bool(_NOWHERE.search(reason)) and not _ELSEWHERE.search(reason)


def program(environ: Mapping[str, str]) -> str:
    """Return uv: the one beside this Python, else the one on the PATH."""
    beside = Path(sys.executable).with_name("uv")
    if found := str(beside) if beside.exists() else shutil.which("uv", path=environ.get("PATH", "")):
        return found
    raise MissingExtra("an environment of its own", hint="pip install uv")


def run(arguments: Sequence[str], *, environ: Mapping[str, str], folder: Path) -> Iterator[Preparing | Waiting]:
    """Run uv in `folder` and tell what it says; raise CannotBe where packages do not fit, else an error of ours.

    Whoever stops listening ends it, with all that it has started.
    """
    said: list[str] = []
    with subprocess.Popen(
        [program(environ), *arguments], cwd=folder, env=_variables(environ), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        try:
            for event in _lines(process.stdout) if process.stdout else ():
                if isinstance(event, Preparing):
                    said.append(event.text)
                    if not event.text.strip() or event.text.startswith("Using Python"):
                        continue
                yield event
        except BaseException:
            _end(process)
            raise
    if process.returncode:
        raise refusal("\n".join(said))


def refusal(said: str) -> CannotBe | StudioloError:
    """Return what a refusal of uv means: packages that do not fit, a full disk, an index that does not answer."""
    reason = _reason(said)
    if "No solution found" in said or "ailed to build" in said or "not a supported wheel" in said:
        return CannotBe(reason)
    if _FULL.search(said):
        return Unavailable("no room left for the environment", hint="free some space and try again")
    if _REACH.search(said):
        return Unavailable(f"packages cannot be fetched: {reason}", hint="is the package index reachable?")
    return Unavailable(f"the environment could not be made: {reason}", hint="look at what uv says about it")


def _variables(environ: Mapping[str, str]) -> dict[str, str]:
    known = {name: value for name, value in environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME")}
    for name, of_pip in _AS_PIP.items():
        if name not in known and of_pip in known:
            known[name] = known[of_pip]
    return known | {"NO_COLOR": "1", "UV_NO_PROGRESS": "1"}


def _lines(pipe: IO[bytes]) -> Iterator[Preparing | Waiting]:
    began, rest = time.monotonic(), b""
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while True:
            if not selector.select(TICK):
                yield Waiting(time.monotonic() - began)
                continue
            piece = os.read(pipe.fileno(), 65536)
            *whole, rest = (rest + piece).split(b"\n")
            yield from (Preparing(line.decode(errors="replace").rstrip()) for line in whole)
            if not piece:
                yield from (Preparing(line.decode(errors="replace")) for line in (rest,) if line)
                return


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        started = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    except psutil.NoSuchProcess:
        return
    for each in started:
        try:
            each.kill()
        except psutil.NoSuchProcess:
            continue


def _reason(said: str) -> str:
    """The cause as uv gives it, in one line, without what a build has printed."""
    told: list[str] = []
    for line in said.splitlines():
        stripped = line.strip()
        if stripped.startswith(("error: ", "cause: ")):
            told.append(stripped.partition(": ")[2])
        elif told and (not stripped or stripped.startswith(("[std", "hint:"))):
            break
        elif told:
            told[-1] += f" {stripped}"
    words = ": ".join(told[1:2] if len(told) > 1 and told[0].startswith("No solution") else told) or said.strip()
    words = words.replace(", we can conclude that your requirements are unsatisfiable.", "").rstrip(".")
    return f"{words[:TOLD]}…" if len(words) > TOLD else words

"""Running a program step by step: what it says, that it still runs, and its end with that of all it has started."""

from __future__ import annotations

import os
import selectors
import subprocess
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil

from jobs.environments.events import Preparing, Waiting

TICK = 1.0  # seconds of silence after which that is said

Step = Preparing | Waiting


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended and all that it said."""

    code: int
    said: str


def run(command: Sequence[str], *, environ: Mapping[str, str], folder: Path) -> Generator[Step, None, Ended]:
    """Run a program in `folder`; whoever stops listening ends it, with all that it has started."""
    said: list[str] = []
    with subprocess.Popen(
        command, cwd=folder, env=dict(environ), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        try:
            for step in _read(process.stdout) if process.stdout else ():
                if isinstance(step, Preparing):
                    said.append(step.text)
                    if not step.text.strip():
                        continue
                yield step
        except BaseException:
            _end(process.pid)
            raise
    return Ended(process.returncode, "\n".join(said))


def _read(pipe: IO[bytes]) -> Iterator[Step]:
    began, rest = time.monotonic(), b""
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while True:
            if not selector.select(TICK):
                yield Waiting(time.monotonic() - began)
                continue
            piece = os.read(pipe.fileno(), 65536)
            *whole, rest = (rest + piece).split(b"\n")
            yield from (_line(each) for each in whole)
            if not piece:
                yield from (_line(each) for each in (rest,) if each)
                return


def _line(raw: bytes) -> Preparing:
    return Preparing(raw.decode(errors="replace").rstrip())


def end_those_in(folder: Path) -> None:
    """End programs that were begun here for `folder` by somebody who is no more."""
    for process in psutil.process_iter(["cmdline"]):
        if any(str(folder) in word for word in process.info["cmdline"] or ()) and process.pid != os.getpid():
            _end(process.pid)


def _end(pid: int) -> None:
    try:
        started = [*psutil.Process(pid).children(recursive=True), psutil.Process(pid)]
    except psutil.NoSuchProcess:
        return
    for each in started:
        try:
            each.kill()
        except psutil.NoSuchProcess:
            continue

"""Run a program of strangers: start it shut in, watch its time, memory and output, and end all of it."""

from __future__ import annotations

import json
import os
import secrets
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

import psutil

from evals.sandbox.confine import REFUSED
from workspace.errors import Invalid, Unavailable

_ROOM = Path(__file__).parent
_LOOK = 0.1  # seconds between two looks at memory and processes
MB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a program may take: seconds by the clock and of CPU, bytes of memory, a file, all files and output."""

    seconds: float = 10.0
    cpu: int = 10
    memory: int = 512 * MB
    file_size: int = 16 * MB
    disk: int = 64 * MB
    files: int = 256
    processes: int = 16
    output: int = MB

    def __post_init__(self) -> None:
        if self.seconds <= 0 or self.cpu < 1 or self.memory < 64 * MB or min(self.disk, self.files, self.processes) < 1:
            raise Invalid("a program needs time, a process, a file and 64 MB of memory", hint="raise its limits")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """How it went. `mistake` is None where it passed; `held` says which protections there were."""

    mistake: str | None
    output: str
    seconds: float
    held: Mapping[str, Any] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        return self.mistake is None


def run(program: str, *, limits: Limits | None = None, network: bool = False) -> Ran:
    """Run a program and the tests in it, and say whether it came to its end: `run("assert 1 + 1 == 2").passed`.

    Without `network` it refuses to run where the kernel offers nothing that keeps it off the network: Unavailable.
    """
    limits = limits or Limits()
    with tempfile.TemporaryDirectory(prefix="studiolo-sandbox-") as folder:
        place = Path(folder)
        for name in ("root", "given", "work"):
            (place / name).mkdir()
        (place / "given").chmod(0o755)
        (place / "given" / "program.py").write_text(program, encoding="utf-8", errors="replace")
        (place / "given" / "harness.py").write_bytes((_ROOM / "harness.py").read_bytes())
        with _pipe() as (told, report), _pipe() as (shown, held):
            word = secrets.token_hex(16)
            began = time.monotonic()
            process = _started(place, limits, network=network, report=report, held=held)
            os.close(report)
            os.close(held)
            output, stopped = _watched(process, word, limits)
            seconds = time.monotonic() - began
            protections = json.loads(_read(shown) or b"{}")
            said = _read(told).decode("utf-8", "replace")
        if not protections or (process.returncode == REFUSED and not said):
            raise _not_run(protections, output, network=network)
    first, _, mistake = said.partition("\n")
    if stopped is None and first != word:
        stopped = _ended_early(process.returncode)
    return Ran(mistake=stopped or mistake or None, output=output, seconds=seconds, held=protections)


@contextmanager
def _pipe() -> Iterator[tuple[int, int]]:
    reads, writes = os.pipe()
    try:
        yield reads, writes
    finally:
        os.close(reads)


def _read(pipe: int) -> bytes:
    """What stands in a pipe; whoever may still hold its other end is not waited for."""
    os.set_blocking(pipe, False)
    try:
        return os.read(pipe, 8192)
    except BlockingIOError:
        return b""


def _started(place: Path, limits: Limits, *, network: bool, report: int, held: int) -> subprocess.Popen[bytes]:
    told = {
        "network": network,
        "root": str(place / "root"),
        "given": str(place / "given"),
        "work": str(place / "work"),
        "shown": _python_places(),
        "python": sys.executable,
        "report": report,
        "held": held,
        # Limits on processes are kept by user: nobody else has this one.
        "user": 0x60000000 + os.getpid() % 0x8000 * 0x1000 + secrets.randbelow(0x1000),
        "memory": limits.memory,
        "cpu": limits.cpu,
        "file_size": limits.file_size,
        "disk": limits.disk,
        "files": limits.files,
        "processes": limits.processes,
    }
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-B", str(_ROOM / "confine.py"), json.dumps(told)],
        env={"LANG": "C.UTF-8"},
        cwd=place,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=(report, held),
        start_new_session=True,
    )


def _watched(process: subprocess.Popen[bytes], word: str, limits: Limits) -> tuple[str, str | None]:
    """Read what it says until it ends or takes too much; return that, and what stopped it."""
    stdin, stdout = cast("IO[bytes]", process.stdin), cast("IO[bytes]", process.stdout)
    said, stopped = bytearray(), None
    end = time.monotonic() + limits.seconds
    look = time.monotonic() + _LOOK
    try:
        stdin.write(f"{word}\n".encode())
        stdin.close()
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            while stopped is None:
                if selector.select(min(_LOOK, max(0.0, end - time.monotonic()))):
                    block = os.read(stdout.fileno(), 65536)
                    if not block:
                        break
                    said += block
                if len(said) > limits.output:
                    stopped = f"more than {limits.output} bytes of output"
                elif (now := time.monotonic()) >= end:
                    stopped = f"took more than {limits.seconds:g} s"
                elif now >= look:
                    stopped, look = _too_much(process.pid, limits), time.monotonic() + _LOOK
                    if process.poll() is not None:
                        break
    except BrokenPipeError:
        pass  # it has ended before it was told its word: the exit says why
    finally:
        _end(process)
        said += _rest(stdout.fileno(), limits.output)
        stdout.close()
    return said[: limits.output].decode("utf-8", "replace"), stopped


def _not_run(held: Mapping[str, Any], output: str, *, network: bool) -> Unavailable:
    if not held:
        return Unavailable(f"the program could not be started: {output[-300:].strip() or 'no word of why'}")
    if not held.get("network") and not network:
        why = "the kernel offers nothing that keeps it off the network"
        return Unavailable(f"the program was not run: {why}", hint="`network: true` runs it all the same")
    return Unavailable("the program was not run: nothing keeps it from root's files", hint="do not run it as root")


def _rest(pipe: int, most: int) -> bytes:
    """What it has said between the last look and its end."""
    rest = bytearray()
    while len(rest) <= most and (block := _read(pipe)):
        rest += block
    return bytes(rest)


def _too_much(pid: int, limits: Limits) -> str | None:
    memory, count = 0, 0
    for child in _family(pid):
        try:
            memory += child.memory_info().rss
            count += 1
        except psutil.Error:
            continue  # it has ended since
    if memory > limits.memory + 32 * MB:
        return f"took more than {limits.memory // MB} MB of memory"
    return f"ran more than {limits.processes} processes" if count > limits.processes + 2 else None


def _end(process: subprocess.Popen[bytes]) -> None:
    """End it and all it has started; where no namespace holds them, they are looked for until there is none."""
    for _ in range(100):
        family = _family(process.pid)
        for child in family:
            try:
                child.kill()
            except psutil.Error:
                continue  # it has ended since
        if not family:
            break
        time.sleep(0.01)
    process.kill()
    process.wait()


def _family(pid: int) -> list[psutil.Process]:
    try:
        return [each for each in psutil.Process(pid).children(recursive=True) if each.status() != psutil.STATUS_ZOMBIE]
    except psutil.Error:
        return []


def _ended_early(code: int) -> str:
    if code in (128 + 9, 128 + 24, -9):
        return "took more CPU time or memory than it may"
    return f"ended before its tests did, with {code if code <= 128 else f'signal {code - 128}'}"


def _python_places() -> list[str]:
    """What Python is made of, the innermost last: nothing of it can be written to in there."""
    executable = Path(sys.executable)
    places = {sys.base_prefix, sys.prefix, str(executable.resolve().parent.parent)}
    return sorted(place for place in places if not place.startswith("/usr"))

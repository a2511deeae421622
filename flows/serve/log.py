"""What was served: one JSON object a request in files that are rotated and bounded, written beside the answers.

The files lie in `spool/served` of the workspace; the flows that people have tried are in one of them, `tests.jsonl`.
What is short becomes a line at once, after its answer has left: a thread that did it beside would cost more in turns
than the work is. What is long, and the disk, is left to a thread. When the folder is full, the oldest file goes.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.masking import Mask
from flows.results import LineRecord, line_from, to_json
from flows.serve.http import Call, encode

log = logging.getLogger(__name__)

FOLDER = "served"
EVERY = 0.25  # seconds between writes
FILE_SIZE = 8_000_000  # bytes after which a new file begins
FILES = 16  # in the folder, of all served flows together
SHORT = 20_000  # bytes of request and answer
TEST = "test"  # the path of what a person tried
TESTS = "tests.jsonl"  # the file of those
TOLD = 60.0  # seconds between two warnings of requests that could not be kept
HELD = 20_000  # requests that may wait to be written; beyond them they are counted, not kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """One request as it was kept: when, by which version of which flow, how it ended, and its line where one ran.

    `traceparent` and `baggage` are the caller's W3C trace context; `feedback` is what a person said of an answer.
    """

    id: str
    ts: float  # UTC seconds
    flow: str
    digest: str
    path: str
    status: int
    duration: float  # seconds
    traceparent: str = ""
    baggage: str = ""
    feedback: dict[str, Any] | None = None
    line: LineRecord | None = None


class RequestLog:
    """Writes what one process serves of one flow; made with no folder, it keeps nothing."""

    def __init__(
        self, folder: Path | None, *, flow: str, digest: str, mask: Mask, file_size: int = FILE_SIZE, files: int = FILES
    ) -> None:
        self._folder = folder
        self._file_size, self._files = file_size, files
        self._mask = mask
        self._same = f'"flow":{encode(flow)},"digest":{encode(digest)}'
        self._held: deque[bytes | tuple[Call, float]] = deque()
        self.lost = 0  # requests that could not be kept; it is told in the log and at /health
        self._why = ""
        self._told = (0, 0.0)
        self._file = -1
        self._size = self._number = 0
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._write_on, name="request log", daemon=True)
        if folder is not None:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._thread.start()

    def add(self, call: Call, duration: float) -> None:
        """Keep a request that has ended."""
        if self._folder is None:
            return
        if len(self._held) >= HELD:
            self._lose(1, "more came at once than can be held")
        elif call.size < SHORT:
            self._held.append(self._line(call, duration))
        else:
            self._held.append((call, duration))

    def close(self) -> None:
        """Write what is held, and stop."""
        if self._folder is not None and not self._closing.is_set():
            self._closing.set()
            self._thread.join(5)

    def _write_on(self) -> None:
        while not self._closing.wait(EVERY):
            self._write()
            self._tell(TOLD)
        self._write()
        self._tell(0.0)
        if self._file >= 0:
            os.close(self._file)

    def _write(self) -> None:
        lines = bytearray()
        count = 0
        while self._held:
            held = self._held.popleft()
            lines += held if isinstance(held, bytes) else self._line(*held)
            count += 1
        if not lines:
            return
        try:
            if self._file < 0 or self._size > self._file_size:
                self._rotate()
            os.write(self._file, lines)
            self._size += len(lines)
        except OSError as error:  # a full disk must not stop the answers
            self._lose(count, f"{error.strerror}: {self._folder}")

    def _lose(self, count: int, why: str) -> None:
        self.lost += count
        self._why = why

    def _tell(self, pause: float) -> None:
        count, at = self._told
        if self.lost > count and time.monotonic() - at >= pause:
            log.warning("%d requests could not be kept in the request log: %s", self.lost - count, self._why)
            self._told = (self.lost, time.monotonic())

    def _line(self, call: Call, duration: float) -> bytes:
        written = (
            f'{{"id":{encode(call.id)},"ts":{call.ts:.6f},{self._same},"path":{encode(call.path)},'
            f'"status":{call.status},"duration":{duration:.6f}'
        )
        for name in (b"traceparent", b"baggage"):
            if given := call.headers.get(name):
                written += f',"{name.decode()}":{encode(given.decode("latin-1")[:8192])}'
        if call.feedback is not None:
            written += f',"feedback":{encode(call.feedback)}'
        line = written.encode("utf-8", "surrogatepass")
        if call.line is not None:
            try:
                line += b',"line":' + to_json(call.line)[:-1]
            except (TypeError, ValueError, RecursionError) as error:
                self._lose(1, f"the flow gave what is no JSON: {error}")
        line += b"}\n"
        return self._masked(line) if self._mask.shows(line) else line

    def _masked(self, line: bytes) -> bytes:
        return (encode(self._mask.value(json.loads(line))) + "\n").encode("utf-8", "surrogatepass")

    def _rotate(self) -> None:
        assert self._folder is not None  # noqa: S101 - nothing is written without one
        if self._file >= 0:
            os.close(self._file)
        self._number += 1
        self._size = 0
        path = self._folder / f"{os.getpid()}-{self._number:05}.jsonl"
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        for old in _oldest_first(self._folder)[: -self._files]:
            old.unlink(missing_ok=True)


def keep_test(home: Path, *, flow: str, digest: str, line: LineRecord, started_at: float, mask: Mask) -> str:
    """Keep a flow that a person tried as a request of the path "test", and return its id; secrets are left out."""
    folder = home / "spool" / FOLDER
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / TESTS
    if path.exists() and path.stat().st_size > FILE_SIZE:
        path.replace(folder / f"tests-{time.time_ns()}.jsonl")
    name = uuid.uuid4().hex
    fields = {
        "id": name, "ts": started_at, "flow": flow, "digest": digest, "path": TEST, "status": 200,
        "duration": round(line.duration, 6), "line": json.loads(to_json(line)),
    }  # fmt: skip
    raw = (encode(mask.value(fields)) + "\n").encode("utf-8", "surrogatepass")
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(file, raw)  # one call, so that lines of several processes never mix
    finally:
        os.close(file)
    return name


def served(home: Path) -> Iterator[Served]:
    """Yield the requests that a workspace has kept, those of one process in the order in which they ended."""
    for path in log_files(home):
        for request, _ in read_from(path, 0):
            yield request


def log_files(home: Path) -> list[Path]:
    """Return the files with requests, the one that was written last at the end."""
    return _oldest_first(home / "spool" / FOLDER)


def read_from(path: Path, start: int) -> Iterator[tuple[Served, int]]:
    """Yield the requests in a file from a place on, each with the place after it; a torn line is passed over."""
    with path.open("rb") as file:
        place = file.seek(start)
        for raw in file:
            if not raw.endswith(b"\n"):
                return  # it is being written
            place += len(raw)
            try:
                fields = json.loads(raw)
                line = fields.pop("line", None)
                yield Served(**fields, line=None if line is None else line_from(line)), place
            except (ValueError, TypeError, KeyError):
                continue  # torn by a full disk or a kill


def _oldest_first(folder: Path) -> list[Path]:
    found = []
    for path in folder.glob("*.jsonl"):
        with contextlib.suppress(FileNotFoundError):  # another process has just rotated it away
            found.append((path.stat().st_mtime, path))
    return [path for _, path in sorted(found)]

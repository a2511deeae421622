"""What was served: one JSON object a request in files that are rotated and bounded, written beside the answers.

The files lie in `spool/served` of the workspace. A request costs the loop the append to a list; a thread turns what
has gathered into lines a few times a second. When the folder is full, the oldest file goes.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.masking import Mask
from flows.results import LineRecord, line_from, to_json
from flows.serve_http import Call, encode

FOLDER = "served"
EVERY = 0.25  # seconds between writes
FILE_SIZE = 8_000_000  # bytes after which a new file begins
FILES = 16  # in the folder, of all served flows together
YIELD = 4  # lines after which other threads have their turn
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
        self._held: list[tuple[Call, float]] = []
        self._lost = 0
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
        if len(self._held) < HELD:
            self._held.append((call, duration))
        else:
            self._lost += 1

    def close(self) -> None:
        """Write what is held, and stop."""
        if self._folder is not None and not self._closing.is_set():
            self._closing.set()
            self._thread.join(5)

    def _write_on(self) -> None:
        while not self._closing.wait(EVERY):
            self._write()
        self._write()
        if self._file >= 0:
            os.close(self._file)

    def _write(self) -> None:
        held, self._held = self._held, []
        if not held:
            return
        lines = bytearray()
        for number, (call, duration) in enumerate(held):
            if number % YIELD == 0:
                time.sleep(0)  # the answers come first
            try:
                line = self._line(call, duration)
                lines += self._masked(line) if self._mask.shows(line) else line
            except (TypeError, ValueError, RecursionError):
                self._lost += 1
        try:
            if self._file < 0 or self._size > self._file_size:
                self._rotate()
            os.write(self._file, lines)
            self._size += len(lines)
        except OSError:
            self._lost += len(held)  # a full disk must not stop the answers

    def _line(self, call: Call, duration: float) -> bytes:
        written = (
            f'{{"id":{encode(call.id)},"ts":{call.ts:.6f},{self._same},"path":{encode(call.path)},'
            f'"status":{call.status},"duration":{duration:.6f}'
        )
        for name in ("traceparent", "baggage"):
            if given := call.headers.get(name.encode()):
                written += f',"{name}":{encode(given.decode("latin-1")[:8192])}'
        if call.feedback is not None:
            written += f',"feedback":{encode(call.feedback)}'
        if call.line is None:
            return (written + "}\n").encode("utf-8", "surrogatepass")
        return (written + ',"line":').encode("utf-8", "surrogatepass") + to_json(call.line)[:-1] + b"}\n"

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


def served(home: Path) -> Iterator[Served]:
    """Yield the requests that a workspace has kept, those of one process in the order in which they ended."""
    for path in _oldest_first(home / "spool" / FOLDER):
        with path.open("rb") as file:
            for raw in file:
                try:
                    fields = json.loads(raw)
                except ValueError:
                    continue  # torn by a full disk or a kill
                line = fields.pop("line", None)
                yield Served(**fields, line=None if line is None else line_from(line))


def _oldest_first(folder: Path) -> list[Path]:
    found = []
    for path in folder.glob("*.jsonl"):
        with contextlib.suppress(FileNotFoundError):  # another process has just rotated it away
            found.append((path.stat().st_mtime, path))
    return [path for _, path in sorted(found)]

"""What a job says, kept byte for byte in parts of 50 MB, and followed while it grows.

Parts are never renamed: a reader that has come to the end of one goes on with the next, and meets each byte once.
"""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from workspace.paths import writing

PART = 50_000_000  # bytes after which the next part begins
KEPT = 20  # parts: the first, and the newest of the others
LONGEST = 1_000_000  # bytes of one line; what it has more is left out
POLL = 0.02  # seconds between looks at a log
_CHUNK = 1 << 16
_PART = re.compile(r"std_log(?:\.(\d+))?\.txt")
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def part(folder: Path, number: int) -> Path:
    """Return a part of a log: std_log.txt, std_log.001.txt …"""
    return folder / (f"std_log.{number:03d}.txt" if number else "std_log.txt")


class LogWriter:
    """A log that grows: lines are cut at LONGEST, parts follow each other, and a full disk costs words, not the job."""

    def __init__(self, folder: Path, *, largest: int = PART, longest: int = LONGEST) -> None:
        with writing(folder):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._largest = largest
        self._longest = longest
        self._number = _newest(folder)  # of an attempt that is followed by another shim now
        self._size = _size(part(folder, self._number))
        self._line = 0  # bytes of the line that is being said
        self._cut = 0  # how many of them were left out
        self._lost = 0  # bytes that a full disk has cost
        self._file = -1
        self._append(b"")

    def write(self, chunk: bytes) -> None:
        """Add what was said."""
        if self._cut == 0 and self._line + len(chunk) <= self._longest:
            self._line = len(chunk) - end if (end := _line_end(chunk)) else self._line + len(chunk)
            self._put(chunk)
            return
        start = 0
        while start < len(chunk):
            end = _first_line_end(chunk, start) or len(chunk)
            self._piece(chunk[start:end])
            start = end

    def note(self, text: str) -> None:
        """Add a line of our own, on a line of its own."""
        self._end_line()
        self._put(f"{'' if self._line == 0 else chr(10)}[studiolo] {text}\n".encode())
        self._line = 0

    def close(self) -> None:
        """End the log."""
        self._end_line()
        self._put(b"")
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _piece(self, piece: bytes) -> None:
        ends = piece.endswith((b"\n", b"\r"))
        room = max(0, self._longest - self._line)
        kept = piece if len(piece) <= room else piece[:room]
        self._cut += len(piece) - len(kept) - (1 if ends and len(piece) > len(kept) else 0)
        self._line += len(piece)
        if kept:
            self._put(kept)
        if ends:
            if self._cut:
                self._end_line()
                self._put(piece[-1:])
            self._line = 0

    def _end_line(self) -> None:
        if self._cut:
            self._put(f" [studiolo: {self._cut} bytes of this line left out]".encode())
            self._cut = 0

    def _put(self, data: bytes) -> None:
        if self._lost:
            words = f"\n[studiolo: {self._lost} bytes left out: the disk was full]\n".encode()
            if self._append(words) == len(words):
                self._lost = 0
        self._lost += len(data) - self._append(data)
        if self._size >= self._largest:
            self._turn()

    def _append(self, data: bytes) -> int:
        """Write what there is room for and return how many bytes that were."""
        done = 0
        try:
            if self._file < 0:
                self._file = self._opened(self._number)
            while done < len(data):
                done += os.write(self._file, data[done:])
        except OSError as error:
            if error.errno not in FULL:
                raise
        self._size += done
        return done

    def _turn(self) -> None:
        os.close(self._file)
        self._file, self._size = -1, 0
        self._number += 1
        if self._number >= KEPT:
            part(self._folder, self._number - KEPT + 1).unlink(missing_ok=True)
        self._append(b"")

    def _opened(self, number: int) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        return os.open(part(self._folder, number), flags, 0o600)


def follow(folder: Path, ended: Callable[[], bool], *, start: int = 0) -> Iterator[bytes]:
    """Yield a log as it grows, byte for byte, until `ended` and everything was read.

    `start` leaves out as many bytes of the first part: a reader that was cut off goes on where it was.
    """
    number, offset = 0, start
    while True:
        over = ended()  # asked before reading: what was written until then is read
        newer = _newest(folder) > number
        for chunk in _read(part(folder, number), offset):
            offset += len(chunk)
            yield chunk
        if newer:
            number, offset = number + 1, 0
            gap = _oldest(folder, number) - number
            if gap > 0:
                yield f"[studiolo: {gap} parts of this log were too old to be kept]\n".encode()
                number += gap
        elif over:
            return
        else:
            time.sleep(POLL)


def tail(folder: Path, most: int) -> bytes:
    """Return the end of a log, at most so many bytes of its newest part; nothing where there is no log."""
    path = part(folder, _newest(folder))
    if not path.is_file():
        return b""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - most))
        return file.read(most)


def _read(path: Path, offset: int) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            while chunk := file.read(_CHUNK):
                yield chunk
    except FileNotFoundError:
        return  # nothing was said yet


def _numbers(folder: Path) -> list[int]:
    try:
        names = os.listdir(folder)  # noqa: PTH208  fifty times a second
    except FileNotFoundError:
        return []
    return sorted(int(found[1] or 0) for name in names if (found := _PART.fullmatch(name)))


def _newest(folder: Path) -> int:
    return max(_numbers(folder), default=0)


def _oldest(folder: Path, least: int) -> int:
    return min((number for number in _numbers(folder) if number >= least), default=least)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _line_end(chunk: bytes) -> int:
    return max(chunk.rfind(b"\n"), chunk.rfind(b"\r")) + 1


def _first_line_end(chunk: bytes, start: int) -> int:
    found = [place for mark in (b"\n", b"\r") if (place := chunk.find(mark, start)) >= 0]
    return min(found) + 1 if found else 0

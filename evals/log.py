"""The log of a run while it is written: one line a sample, whole or not at all; it is the checkpoint."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from evals.samples import LOG, Sample, as_bytes
from workspace.errors import Unavailable


class Log:
    """An open log. What was torn by a kill is cut off when it is opened, what a full disk tears at once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        self._end = _whole(self._file)
        os.ftruncate(self._file, self._end)

    def add(self, sample: Sample) -> None:
        """Write a sample; Unavailable where the disk does not take it, and then nothing of it is there."""
        line = as_bytes(sample)
        left = memoryview(line)
        try:
            while left:
                left = left[os.write(self._file, left) :]
        except OSError as error:
            os.ftruncate(self._file, self._end)
            hint = "make room, then go on: studiolo eval run --resume NAME"
            raise Unavailable(f"the log {str(self._path)!r} cannot be written: {error.strerror}", hint=hint) from error
        self._end += len(line)

    def close(self) -> None:
        """Wait until the disk has it."""
        try:
            os.fsync(self._file)
        finally:
            os.close(self._file)


@contextmanager
def opened(directory: Path) -> Iterator[Log]:
    """Open the log in a run's folder, new or as it was left."""
    log = Log(directory / LOG)
    try:
        yield log
    finally:
        log.close()


def _whole(file: int) -> int:
    """Return where the last whole line ends."""
    place = os.fstat(file).st_size
    while place:
        start = max(0, place - 65536)
        part = os.pread(file, place - start, start)
        if (found := part.rfind(b"\n")) >= 0:
            return start + found + 1
        place = start
    return 0

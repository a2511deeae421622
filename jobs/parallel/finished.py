"""The mini-batches that are finished, with their rows, in append-only logs beside the step: one for each attempt.

An attempt reads the logs of those before it and writes its own, so that nobody ever writes where another has. Standard
library only, from Python 3.8 on: it runs in the job's own Python.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jobs.parallel.schedule import MiniBatch

FOLDER = "STUDIOLO_FINISHED"  # the variable that says where the logs lie
_SUFFIX = ".jsonl"
_SYNC = getattr(os, "fdatasync", os.fsync)  # not every system has it
_EVERY = 0.5  # seconds of work that lost power may cost: a kill costs none


class Finished:
    """The rows of all mini-batches, safe from a kill at once and from lost power soon; joined in the input's order."""

    def __init__(self, folder: str | None, cut: str) -> None:
        """Read what earlier attempts have left in `folder`, as far as their mini-batches were those of `cut`."""
        self._kept = None if folder else tempfile.TemporaryDirectory()
        self._folder = folder or (self._kept.name if self._kept else "")
        self._places: dict[int, tuple[str, int]] = {}
        self.rows: dict[int, int] = {}
        os.makedirs(self._folder, mode=0o700, exist_ok=True)  # noqa: PTH103
        before = sorted(name for name in os.listdir(self._folder) if name.endswith(_SUFFIX))  # noqa: PTH208
        for name in before:
            self._read(os.path.join(self._folder, name), cut)  # noqa: PTH118
        last = int(before[-1][: -len(_SUFFIX)]) if before else 0
        self._path = os.path.join(self._folder, f"{last + 1:06d}{_SUFFIX}")  # noqa: PTH118
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)
        self._end = 0
        self._synced = float("-inf")
        self._write({"cut": cut})

    @property
    def count(self) -> int:
        """How many rows there are."""
        return sum(self.rows.values())

    def add(self, number: int, rows: int, text: str) -> None:
        """Keep the rows of a mini-batch."""
        self._places[number] = (self._path, self._end)
        self.rows[number] = rows
        self._write({"number": number, "rows": rows, "text": text})

    def join(self, path: str) -> None:
        """Write all rows to a file."""
        with open(path, "wb") as target:  # noqa: PTH123
            for number in sorted(self._places):
                target.write(self._text(number).encode("utf-8", "surrogateescape"))

    def forget(self) -> None:
        """Take the logs away: what they hold is where it belongs."""
        os.close(self._file)
        for name in os.listdir(self._folder):  # noqa: PTH208
            os.unlink(os.path.join(self._folder, name))  # noqa: PTH108, PTH118

    def _text(self, number: int) -> str:
        name, place = self._places[number]
        with open(name, "rb") as file:  # noqa: PTH123
            file.seek(place)
            return str(json.loads(file.readline())["text"])

    def _write(self, record: dict[str, Any]) -> None:
        line = (json.dumps(record) + "\n").encode()
        self._end += len(line)
        while line:
            line = line[os.write(self._file, line) :]
        if time.monotonic() - self._synced >= _EVERY:
            _SYNC(self._file)
            self._synced = time.monotonic()

    def _read(self, path: str, cut: str) -> None:
        for place, record in _records(path):
            if "cut" in record:
                if record["cut"] != cut:
                    return  # the input has changed meanwhile
            else:
                self._places[record["number"]] = (path, place)
                self.rows[record["number"]] = record["rows"]


def cut_of(batches: Sequence[MiniBatch], root: str) -> str:
    """Return a digest of what the mini-batches are: another one, and their numbers mean something else.

    Of files it is their names under `root`, which lies elsewhere in each attempt, and how long they are; of tables how
    many rows there are.
    """
    digest, above = hashlib.sha256(), os.path.join(root, "")  # noqa: PTH118
    for batch in batches:
        files = batch.items if isinstance(batch.items, list) else ()
        named = [(path[len(above) :] if path.startswith(above) else path, os.stat(path).st_size) for path in files]  # noqa: PTH116
        digest.update(json.dumps([batch.size, named, batch.partition], default=str).encode())
    return digest.hexdigest()


def _records(path: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the records of a log and where they begin, up to the first that was torn: by a kill, or by lost power."""
    place = 0
    with open(path, "rb") as file:  # noqa: PTH123
        for line in file:
            try:
                record = json.loads(line) if line.endswith(b"\n") else None
            except ValueError:
                record = None
            if not isinstance(record, dict):
                return
            yield place, record
            place += len(line)

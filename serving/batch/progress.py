"""How far a batch job is and which of its files have failed: two files that the job writes and anybody may read."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

from workspace.paths import write_atomically

FAILURES = "failures.jsonl"  # beside the file of the counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How far a job is: mini-batches, files and rows."""

    mini_batches: int = 0
    mini_batches_done: int = 0
    files: int = 0
    files_done: int = 0
    files_failed: int = 0
    rows: int = 0
    retries: int = 0


@dataclass(frozen=True, slots=True)
class Failure:
    """Files that have failed for good, as they are called in the input, and why."""

    files: tuple[str, ...]
    reason: str


def keep(path: Path, counts: Counts) -> None:
    """Write how far the job is."""
    write_atomically(path, json.dumps(asdict(counts)))


def read(path: Path) -> Counts:
    """Return how far the job was when it last said so."""
    try:
        return Counts(**json.loads(path.read_text()))
    except FileNotFoundError:
        return Counts()


def add_failure(path: Path, failure: Failure) -> None:
    """Write down that files have failed; `path` is that of the counts."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with path.with_name(FAILURES).open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(failure)) + "\n")


def failures(path: Path, *, most: int) -> list[Failure]:
    """Return the first failures; a line that a killed job has not ended is left out."""
    try:
        with path.with_name(FAILURES).open(encoding="utf-8") as file:
            found = [json.loads(line) for line in islice(file, most) if line.endswith("\n")]
    except FileNotFoundError:
        return []
    return [Failure(tuple(each["files"]), each["reason"]) for each in found]

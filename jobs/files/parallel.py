"""Parallel steps: a script that is given mini-batches of its input, many at the same time."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from jobs.files.command import CodeField
from jobs.files.environment_file import EnvironmentField
from jobs.files.reading import Origin, Place
from jobs.files.record import Mark
from jobs.files.shapes import Bound, Choice, is_bound

LOGGING_LEVELS = ("WARNING", "INFO", "DEBUG")
UNITS = {"": 1, "kb": 1024, "mb": 1024**2, "gb": 1024**3}
_SIZE = re.compile(r"(\d+)((?:[kKmMgG][bB])?)")

LoggingLevel = Annotated[
    Literal["WARNING", "INFO", "DEBUG"] | None, Choice(LOGGING_LEVELS, "exact"), "What the workers write down."
]
MiniBatchSize = Annotated[str | None, "Files, or bytes of a table: `10`, `10kb`, `1mb`."]
PartitionKeys = Annotated[tuple[str, ...], "Columns, or parts of paths, whose values make the mini-batches."]
InputData = Annotated[str | None, "The input that is divided: ${{inputs.rows}}."]
Concurrency = Annotated[int | None, "Workers a node; as many as there are cores where it is not said."]
ErrorThreshold = Annotated[int | None, "How many items may fail; -1 is all of them."]
MiniBatchErrorThreshold = Annotated[int | None, "How many mini-batches may fail; -1 is all of them."]


@dataclass(frozen=True, slots=True, kw_only=True)
class ParallelTask:
    """What is done with each mini-batch."""

    origin: Origin
    type: Literal["run_function", "model", "function"]
    environment: EnvironmentField
    code: CodeField = None
    entry_script: Annotated[str | None, "The script with `init()` and `run(mini_batch)`, in `code`."] = None
    program_arguments: Annotated[str | None, "What the script is given beside."] = None
    model: Annotated[str | None, "A model, for type `model`."] = None
    append_row_to: Annotated[str | None, "The output that returned rows are written to: ${{outputs.rows}}."] = None

    def settle(self, place: Place, _: Mapping[str, Any]) -> ParallelTask:
        if self.type != "model" and not self.entry_script:
            place.object("no-entry-script", f"a task of type {self.type} needs `entry_script`")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrySettings:
    """How often a mini-batch is tried again, and how long one try may take."""

    timeout: Annotated[int | str | None, Bound(), "Seconds."] = None
    max_retries: Annotated[int | str | None, Bound(), "Tries after the first."] = None


Task = Annotated[ParallelTask | None, Mark.OPEN, "What is done with each mini-batch."]
Retries = Annotated[RetrySettings | None, Mark.OPEN, "How often a mini-batch is tried again."]


def check_size(place: Place, written: str | None) -> None:
    """Refuse a mini-batch size that is none."""
    if written is not None and not is_bound(place, written) and not _SIZE.fullmatch(written):
        there = place.under("mini_batch_size")
        raise there.wrong(f"cannot be {written!r}", hint="write a number of files, or bytes as 10kb, 1mb, 1gb")


def size_of(written: str) -> tuple[int, bool]:
    """Return a mini-batch size, and whether it is bytes: `size_of("10kb") == (10240, True)`."""
    found = _SIZE.fullmatch(written)
    if found is None:
        raise ValueError(f"{written!r} is no mini-batch size")
    return int(found[1]) * UNITS[found[2].lower()], bool(found[2])

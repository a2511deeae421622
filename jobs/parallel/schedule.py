"""Which mini-batch is next, which comes again, and when enough has failed.

Standard library only, from Python 3.8 on: it runs in the job's own Python.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class MiniBatch:
    """Some items that go to one call of `run`, numbered from 0: paths, or the rows of a table."""

    number: int
    items: Any
    size: int
    partition: Any = None  # the values of the partition keys, where they made it


@dataclass(frozen=True)
class Limits:
    """What may go wrong; -1 is all of it."""

    retries: int = 2  # tries of a mini-batch after the first
    items: int = -1
    mini_batches: int = -1
    percent: float = 100.0  # of the mini-batches


@dataclass
class Schedule:
    """The mini-batches of one job, each handed out until it succeeds or has failed once more than it may come again.

    What has failed goes to the end of the queue, so that one bad file does not hold up the others.
    """

    batches: Sequence[MiniBatch]
    limits: Limits
    failed: dict[int, str] = field(default_factory=dict)  # for good, and why
    finished: set[int] = field(default_factory=set)
    failed_items: int = 0
    tries: dict[int, int] = field(default_factory=dict)
    waiting: deque[MiniBatch] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self.waiting = deque(self.batches)

    @property
    def items(self) -> int:
        """How many items there are."""
        return sum(batch.size for batch in self.batches)

    @property
    def exceeded(self) -> str:
        """Which limit is exceeded, or nothing."""
        limits, failed = self.limits, len(self.failed)
        if 0 <= limits.items < self.failed_items:
            return f"{self.failed_items} items have failed, and error_threshold is {limits.items}"
        if 0 <= limits.mini_batches < failed:
            return f"{failed} mini-batches have failed, and mini_batch_error_threshold is {limits.mini_batches}"
        if failed * 100 > limits.percent * len(self.batches):
            return f"{failed} of {len(self.batches)} mini-batches have failed, and {limits.percent:g} % may"
        return ""

    def take_over(self, rows: Mapping[int, int]) -> None:
        """Note what an earlier attempt has finished, by number, with its rows: it is not handed out."""
        for batch in self.batches:
            if batch.number in rows:
                self.succeed(batch, rows[batch.number])
        self.waiting = deque(batch for batch in self.batches if batch.number not in self.finished)

    def next(self) -> MiniBatch | None:
        """Return the next mini-batch to work on; None where there is none to hand out now."""
        if self.exceeded or not self.waiting:
            return None
        batch = self.waiting.popleft()
        self.tries[batch.number] = self.tries.get(batch.number, 0) + 1
        return batch

    def succeed(self, batch: MiniBatch, rows: int) -> None:
        """Note that a mini-batch is done; an item without a row of its own has failed."""
        self.finished.add(batch.number)
        self.failed_items += max(0, batch.size - rows)

    def fail(self, batch: MiniBatch, reason: str) -> bool:
        """Note that a try has failed; return whether the mini-batch comes again."""
        if self.tries[batch.number] <= self.limits.retries:
            self.waiting.append(batch)
            return True
        self.failed[batch.number] = reason
        self.failed_items += batch.size
        return False


def cut(files: Sequence[str], size: int) -> list[MiniBatch]:
    """Return files in mini-batches of so many, in order.

    >>> [batch.size for batch in cut(["a", "b", "c"], 2)]
    [2, 1]
    """
    starts = range(0, len(files), size)
    parts = [list(files[start : start + size]) for start in starts]
    return [MiniBatch(number, part, len(part)) for number, part in enumerate(parts)]


def cut_by_bytes(files: Sequence[str], sizes: Sequence[int], most: int) -> list[MiniBatch]:
    """Return files in mini-batches of so many bytes; one that is larger is one of its own.

    >>> [batch.items for batch in cut_by_bytes(["a", "b", "c"], [6, 4, 1], 10)]
    [['a', 'b'], ['c']]
    """
    parts: list[list[str]] = []
    taken = 0
    for path, size in zip(files, sizes):  # noqa: B905  `strict` is not there before Python 3.10
        if not parts or taken + size > most:
            parts.append([])
            taken = 0
        parts[-1].append(path)
        taken += size
    return [MiniBatch(number, part, len(part)) for number, part in enumerate(parts)]

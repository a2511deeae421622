"""Which files are worked on together, which mini-batch is next, which comes again, and when enough have failed."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class MiniBatch:
    """Some files that go to one call of `run`, numbered from 0."""

    number: int
    files: tuple[str, ...]


def cut(files: Sequence[str], size: int) -> list[MiniBatch]:
    """Return the files in mini-batches of `size`, in order.

    >>> [len(batch.files) for batch in cut(["a", "b", "c"], 2)]
    [2, 1]
    """
    starts = range(0, len(files), size)
    return [MiniBatch(number, tuple(files[start : start + size])) for number, start in enumerate(starts)]


@dataclass(slots=True)
class Schedule:
    """The mini-batches of one job, each handed out until it succeeds or has failed `retries` times more than once.

    What has failed goes to the end of the queue, so that one bad file does not hold up the others. No more is handed
    out once more than `threshold` files have failed for good; with -1 all may.
    """

    batches: Sequence[MiniBatch]
    retries: int
    threshold: int
    done: Collection[int] = ()  # numbers of those that an earlier job has finished
    failed: dict[int, str] = field(default_factory=dict)  # for good, and why
    finished: set[int] = field(default_factory=set)
    _tries: dict[int, int] = field(default_factory=dict)
    _waiting: deque[MiniBatch] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self.finished = set(self.done)
        self._waiting = deque(batch for batch in self.batches if batch.number not in self.finished)

    @property
    def files(self) -> int:
        """How many files there are."""
        return sum(len(batch.files) for batch in self.batches)

    @property
    def finished_files(self) -> int:
        """How many files have succeeded."""
        return sum(len(batch.files) for batch in self.batches if batch.number in self.finished)

    @property
    def failed_files(self) -> int:
        """How many files have failed for good."""
        return sum(len(batch.files) for batch in self.batches if batch.number in self.failed)

    @property
    def exceeded(self) -> bool:
        """Whether more have failed than may."""
        return 0 <= self.threshold < self.failed_files

    def next(self) -> MiniBatch | None:
        """Return the next mini-batch to work on; None where there is none to hand out now."""
        if self.exceeded or not self._waiting:
            return None
        batch = self._waiting.popleft()
        self._tries[batch.number] = self._tries.get(batch.number, 0) + 1
        return batch

    def succeeded(self, batch: MiniBatch) -> None:
        """Note that a mini-batch is done."""
        self.finished.add(batch.number)

    def fail(self, batch: MiniBatch, reason: str) -> Literal["again", "given up"]:
        """Note that a try has failed: it comes again, or has failed for good."""
        if self._tries[batch.number] <= self.retries:
            self._waiting.append(batch)
            return "again"
        self.failed[batch.number] = reason
        return "given up"

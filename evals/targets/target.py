"""What is measured: anything that answers the questions of a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from evals.tasks.rows import Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One row, asked for the `epoch`-th time: as `messages` of a chat or `prompt` of a completion."""

    row: Row
    epoch: int = 1
    seed: int | None = None
    messages: Sequence[Mapping[str, Any]] = ()
    prompt: str = ""

    @property
    def number(self) -> int:
        """The row's place in the data, counted from 0."""
        return self.row.number


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back, or the `error` why nothing did; `absent` says that there was nobody to answer at all."""

    text: str | None = None
    error: str | None = None
    absent: bool = False
    outputs: Mapping[str, Any] = field(default_factory=dict)
    asked: Any = None
    tokens: tuple[int, int] | None = None
    cost: float | None = None
    model: str | None = None
    seconds: float | None = None
    kept: bool = False
    trace: str | None = None


class Target(Protocol):
    """Who answers. `name` is what people call it, `digest` what it is exactly."""

    name: str
    digest: str

    @property
    def made_of(self) -> Sequence[str]:
        """The nodes of lineage that it is made of."""

    async def open(self, questions: Sequence[tuple[Row, int]], folder: Path) -> None:
        """Get ready for rows and repeats that will be asked for; what is kept beside the log goes into `folder`."""

    async def answer(self, question: Question) -> Answer:
        """Answer a question, or say in the answer why not; many are asked at once."""

    async def close(self) -> None:
        """Let go of what is kept open."""

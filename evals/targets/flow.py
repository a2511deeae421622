"""A flow as target: its lines run in worker processes as any flow run's do, and their log lies beside the samples."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from evals.score import answer_of
from evals.targets.target import Answer, Question
from evals.tasks.rows import Row
from flows.connections import Connection
from flows.crew import Conditions, Task, crew
from flows.flow import Flow
from flows.mapping import converted
from flows.results import LOG, LineRecord, from_json, heal


@dataclass(kw_only=True)
class FlowTarget:
    """A flow that is asked with a row's inputs, by their names; `output` is its answer where it has several."""

    flow: Flow
    connections: Mapping[str, Connection]
    conditions: Conditions
    epochs: int = 1
    output: str | None = None
    made_of: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.name = self.flow.name if not self.flow.variant else f"{self.flow.name} ({self.flow.variant})"
        self.digest = self.flow.digest
        self._lines: dict[int, asyncio.Future[LineRecord]] = {}
        self._stopped = False

    async def open(self, questions: Sequence[tuple[Row, int]], folder: Path) -> None:
        """Begin with all lines: how many run at once is the crew's to know."""
        self._loop = asyncio.get_running_loop()
        self._lines = {self._number(row, epoch): self._loop.create_future() for row, epoch in questions}
        log = folder / LOG
        heal(log)
        log.touch(0o600)
        conditions = replace(self.conditions, log=log, output=folder / "worker.log")
        # What it waits for may hang; it must not keep this process from ending.
        threading.Thread(target=self._work, args=(list(questions), conditions), name="flow", daemon=True).start()

    async def close(self) -> None:
        """Take no further lines."""
        self._stopped = True

    async def answer(self, question: Question) -> Answer:
        """Wait for the line of a question."""
        number = self._number(question.row, question.epoch)
        line = await self._lines[number]
        del self._lines[number]
        _, seconds, error, tokens, cost, models = line.summary()
        given = Answer(
            outputs=line.outputs or {}, asked=dict(line.inputs), tokens=tokens if any(tokens) else None, cost=cost,
            model=models[-1] if models else None, seconds=seconds,
        )  # fmt: skip
        if error is not None or not line.outputs:
            return replace(given, error=str(error or "the flow has no outputs"))
        return replace(given, text=answer_of(line.outputs, self.output))

    def _number(self, row: Row, epoch: int) -> int:
        return row.number * self.epochs + epoch - 1

    def _work(self, questions: Sequence[tuple[Row, int]], conditions: Conditions) -> None:
        assert conditions.log is not None  # noqa: S101 - given above
        try:
            with conditions.log.open("rb") as log, crew(self.flow, self.connections, conditions) as at_work:
                log.seek(0, 2)
                found: dict[int, LineRecord] = {}
                for ended in at_work.run(self._tasks(questions)):
                    if self._stopped:
                        return
                    while ended.number not in found:
                        found |= _next(log)
                    self._tell(ended.number, found.pop(ended.number))
        except Exception as error:  # noqa: BLE001 - whatever it was: who waits is told
            for number in list(self._lines):
                self._tell(number, error)

    def _tasks(self, questions: Sequence[tuple[Row, int]]) -> Iterator[Task]:
        known = self.flow.inputs
        for row, epoch in questions:
            if self._stopped:
                return
            number = self._number(row, epoch)
            try:
                given = {name: value for name, value in row.inputs.items() if name in known}
                yield Task(number, converted(self.flow, given))
            except ValueError as error:
                failed = LineRecord(
                    number=number, status="Failed", inputs=row.inputs, outputs=None, error=str(error), nodes=(),
                    duration=0.0,
                )  # fmt: skip
                self._tell(number, failed)

    def _tell(self, number: int, line: LineRecord | Exception) -> None:
        def settle() -> None:
            waiting = self._lines.get(number)
            if waiting is None or waiting.done():
                return
            if isinstance(line, Exception):
                waiting.set_exception(line)
            else:
                waiting.set_result(line)

        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(settle)


def _next(log: BinaryIO) -> dict[int, LineRecord]:
    raw = log.readline()
    if not raw.endswith(b"\n"):
        log.seek(-len(raw), 1)
        return {}
    line = from_json(raw)
    return {line.number: line}

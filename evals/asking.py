"""The asking of one run: so many questions at once, each answer scored and in the log before it is told."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import uvloop

from evals.log import Log
from evals.samples import Sample
from evals.scorers.applied import Applied, Threads, scores
from evals.targets.target import Answer, Question, Target
from evals.tasks.prompts import asking, letter_of
from evals.tasks.rows import Row
from evals.tasks.task import Task
from workspace import Run
from workspace.errors import Conflict, Invalid

TICK = 0.1  # seconds between two pieces of news
MOST_ABSENT = 10  # questions in a row that nobody answered: the endpoint is gone
INTERRUPTED = "interrupted"


@dataclass(slots=True)
class State:
    """What the asking knows of itself."""

    done: list[Sample]
    news: list[Sample] = field(default_factory=list)
    reason: str | None = None
    at_once: bool = False
    absent: int = 0
    tokens: int = 0
    cost: float = 0.0
    work: asyncio.Task[None] | None = None

    def stop(self, reason: str, *, at_once: bool = False) -> None:
        """Ask nothing more; `at_once` what is being asked is given up."""
        self.reason = self.reason or reason
        if at_once and self.work is not None:
            self.at_once = True
            self.work.cancel()


class Asking:
    """One run's asking: what it asks, and what becomes of it."""

    def __init__(
        self, task: Task, target: Target, applied: tuple[Applied, ...], pool: Sequence[Row], log: Log, state: State
    ) -> None:
        self.state = state
        self._task, self._target, self._applied, self._log = task, target, applied, log
        self._ask: Callable[[Row], tuple[list[dict[str, Any]], str]] = asking(task, pool)
        self._threads = Threads(0 if all(each.quick for each in applied) else min(task.concurrency, 16))
        self._began = time.monotonic()
        self._unheard: list[Sample] = []  # that nobody has answered: asked again when the run goes on
        self._is_named = False  # the target stands in the run

    async def all(self, run: Run, questions: Sequence[tuple[Row, int]]) -> None:
        """Ask all questions, so many at once."""
        await self._target.open(questions, run.directory)
        if self.state.done:
            self._name(run)
        waiting = iter(questions)
        count = min(self._task.concurrency, len(questions))
        some = [asyncio.ensure_future(self._some(run, waiting)) for _ in range(count)]
        try:
            await asyncio.gather(*some)
            if len(self._unheard) == len(questions):
                self.state.stop(f"nobody answers: {self._unheard[-1].error}")
            elif self.state.absent < MOST_ABSENT:
                self._keep(run, *self._unheard)
        finally:
            for each in some:
                each.cancel()
            await asyncio.gather(*some, return_exceptions=True)
            self._threads.close()
            await self._target.close()

    async def _some(self, run: Run, waiting: Iterator[tuple[Row, int]]) -> None:
        for row, epoch in waiting:
            if self.state.reason is not None:
                return
            sample, answer = await self._sample(row, epoch)
            self._unheard.append(sample)
            if answer.absent:
                self.state.absent += 1
            else:
                self.state.absent = 0
                unheard, self._unheard = self._unheard, []
                self._keep(run, *unheard)
            self._watch(sample, kept=answer.kept)

    def _keep(self, run: Run, *samples: Sample) -> None:
        """Put samples into the log; the first of them name the target, which may not change from then on."""
        if samples and not self._is_named:
            self._name(run)
        for sample in samples:
            self._log.add(sample)
            self.state.done.append(sample)
            self.state.news.append(sample)

    def _name(self, run: Run) -> None:
        self._is_named = True
        try:
            run.log_params({"target_digest": self._target.digest})
        except Invalid:
            raise Conflict(
                f"the target of run {run.name!r} is another than before", hint="start a new run, without --resume"
            ) from None

    async def _sample(self, row: Row, epoch: int) -> tuple[Sample, Answer]:
        at = time.time()
        try:
            messages, prompt = self._ask(row)
        except ValueError as error:
            answer = Answer(error=str(error))
        else:
            seed = self._task.seed
            if seed is None and self._task.epochs > 1:
                seed = 0
            asked = Question(
                row=row, epoch=epoch, seed=None if seed is None else seed + epoch - 1, messages=messages, prompt=prompt
            )
            answer = await self._target.answer(asked)
        text = answer.text
        if text is not None and self._task.choosing == "letter":
            text = letter_of(text, row.choices)
        sample = Sample(
            number=row.number, row=row.id, inputs=row.inputs, name=row.name, answer=text, expected=row.expected,
            error=answer.error, outputs=answer.outputs, metadata=row.metadata, asked=answer.asked, cluster=row.cluster,
            epoch=epoch, seconds=answer.seconds, tokens=answer.tokens, cost=answer.cost, model=answer.model, at=at,
        )  # fmt: skip
        scored = await scores(sample, self._applied, self._threads, seconds=self._task.limits.scorer_seconds)
        return replace(sample, scores=scored), answer

    def _watch(self, sample: Sample, *, kept: bool) -> None:
        """Stop where a limit is reached, or nobody answers any more."""
        state, limits = self.state, self._task.limits
        if not kept:  # what was kept costs nothing again
            state.tokens += sum(sample.tokens or ())
            state.cost += sample.cost or 0.0
        if state.absent >= MOST_ABSENT:
            state.stop(f"nobody answers: {sample.error}", at_once=True)
        elif limits.tokens is not None and state.tokens >= limits.tokens:
            state.stop(f"the limit of {limits.tokens:,} tokens is reached")
        elif limits.cost is not None and state.cost >= limits.cost:
            state.stop(f"the limit of cost, {limits.cost:g}, is reached")
        elif limits.seconds is not None and time.monotonic() - self._began >= limits.seconds:
            state.stop(f"the limit of {limits.seconds:g} seconds is reached")


def news(run: Run, asking_: Asking, questions: Sequence[tuple[Row, int]]) -> Iterator[tuple[Sample, ...]]:
    """Run the loop a little at a time, and tell what has become of samples in between."""
    state = asking_.state
    loop = uvloop.new_event_loop()
    work = state.work = loop.create_task(asking_.all(run, questions))
    is_main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGINT)
    if is_main:
        # Once is a pause; the second time is Python's own way again.
        def interrupt() -> None:
            loop.remove_signal_handler(signal.SIGINT)
            state.stop(INTERRUPTED, at_once=True)

        loop.add_signal_handler(signal.SIGINT, interrupt)
    try:
        while not work.done():
            loop.run_until_complete(asyncio.wait([work], timeout=TICK))
            if state.news:
                told, state.news = state.news, []
                yield tuple(told)
        if not (work.cancelled() and state.at_once):
            work.result()
    finally:
        if not work.done():
            work.cancel()
            loop.run_until_complete(asyncio.wait([work]))
        if is_main:
            loop.remove_signal_handler(signal.SIGINT)
            signal.signal(signal.SIGINT, before)
        loop.close()

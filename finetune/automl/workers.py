"""Processes that try: forked, so that rows are shared, and ended when their time is over or memory runs out.

The process that leads never computes on several threads itself: what is forked from it starts clean.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from workspace.errors import Invalid, StudioloError, Unavailable

_FORK = multiprocessing.get_context("fork")
_LOOK = 1.0  # seconds between two looks whether the search is to end
_MEMORY = (
    "its process was killed ({}): most likely memory ran out; fewer rows or columns, or a smaller model, need less"
)

Work = Callable[[Any], Any]


@dataclass(slots=True)
class _Worker:
    """One process, and what it is at."""

    process: Any
    line: Connection
    asked: Any = None
    deadline: float = 0.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of something that was asked; `error` says why nothing did."""

    asked: Any
    result: Any = None
    error: str = ""


class Crew:
    """Some processes, each with a `work` of its own that is made by `start` when it begins."""

    def __init__(self, start: Callable[[], Work], *, count: int, threads: int) -> None:
        self._start = start
        self._count = count
        self._threads = threads
        self._workers: list[_Worker] = []

    @property
    def busy(self) -> int:
        """How many are at work."""
        return sum(worker.asked is not None for worker in self._workers)

    @property
    def has_room(self) -> bool:
        """Whether one more can be asked something."""
        return self.busy < self._count

    def ask(self, what: Any, *, deadline: float) -> None:
        """Have something done until a moment of `time.monotonic`."""
        free = next((worker for worker in self._workers if worker.asked is None), None) or self._hire()
        free.asked, free.deadline = what, deadline
        free.line.send(what)

    def answers(self) -> Iterator[Answer]:
        """Yield what has come within a second; nothing where all are still at work."""
        busy = [worker for worker in self._workers if worker.asked is not None]
        now = time.monotonic()
        patience = max(0.0, min([_LOOK, *(worker.deadline - now for worker in busy)]))
        ready = wait([worker.line for worker in busy], timeout=patience) if busy else []
        for worker in busy:
            if worker.line in ready:
                yield self._heard(worker)
            elif time.monotonic() > worker.deadline:
                self._dismiss(worker)
                yield Answer(worker.asked, error="its time was over")

    def close(self) -> None:
        """End them all."""
        for worker in list(self._workers):
            self._dismiss(worker)

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _hire(self) -> _Worker:
        here, there = _FORK.Pipe()
        process = _FORK.Process(target=_serve, args=(self._start, here, there, self._threads))
        process.start()
        there.close()
        self._workers.append(_Worker(process, here))
        return self._workers[-1]

    def _heard(self, worker: _Worker) -> Answer:
        asked = worker.asked
        try:
            kind, said = worker.line.recv()
        except (EOFError, ConnectionError):
            worker.process.join()
            self._dismiss(worker)
            code = worker.process.exitcode or 0
            name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            return Answer(asked, error=_MEMORY.format(name))
        worker.asked = None
        if kind == "refused":
            return Answer(asked, result=Invalid(said[0], hint=said[1]), error=said[0])
        return Answer(asked, result=said) if kind == "done" else Answer(asked, error=said)

    def _dismiss(self, worker: _Worker) -> None:
        worker.process.kill()
        worker.process.join()
        worker.line.close()
        if worker in self._workers:
            self._workers.remove(worker)


def apart(work: Callable[[], Any], *, threads: int, seconds: float = 3600.0) -> Any:
    """Return what a function gives, called in a process of its own."""
    with Crew(lambda: lambda _: work(), count=1, threads=threads) as crew:
        crew.ask("", deadline=time.monotonic() + seconds)
        while True:
            for answer in crew.answers():
                if isinstance(answer.result, Invalid):
                    raise answer.result
                if answer.error:
                    raise Unavailable(answer.error)
                return answer.result


def _serve(start: Callable[[], Work], above: Connection, line: Connection, threads: int) -> None:
    """Be a process: do what is asked, until nobody asks any more."""
    from threadpoolctl import threadpool_limits

    above.close()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    with threadpool_limits(threads):
        work = start()
        while True:
            try:
                asked = line.recv()
            except EOFError:
                os._exit(0)
            line.send(_done(work, asked))


def _done(work: Work, asked: Any) -> tuple[str, Any]:
    try:
        return "done", work(asked)
    except MemoryError:
        return "failed", _MEMORY.format("MemoryError")
    except StudioloError as problem:
        return "refused", (problem.message, problem.hint)
    except Exception as problem:  # noqa: BLE001  what a library refuses is this trial's end, not the search's
        traceback.print_exc(file=sys.stderr)
        return "failed", f"{type(problem).__name__}: {str(problem)[:500]}"

"""Scorers applied where nothing may wait for them: quick ones at once, all others on threads, each in bounded time."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from evals.samples import Sample, Score
from evals.scorers.registry import Scorer
from workspace.errors import Unavailable

THREADS = 8
MOST_LOST = 32  # threads whose scorers never ended

Work = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Applied:
    """A scorer of a run; a `quick` one takes microseconds and needs no thread."""

    name: str
    scorer: Scorer
    quick: bool = False


class Threads:
    """Threads that work for a loop. One whose work never ends is left behind, and another takes its place.

    They are daemons: what never ends does not keep the process from ending.
    """

    def __init__(self, count: int = THREADS) -> None:
        self._work: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._count = 0
        self._lost = 0
        for _ in range(count):
            self._start()

    async def run(self, function: Callable[[], Any], *, seconds: float) -> Any:
        """Return what a function returns; raises TimeoutError where it takes longer once it has begun."""
        loop = asyncio.get_running_loop()
        begun: asyncio.Future[None] = loop.create_future()
        done: asyncio.Future[Any] = loop.create_future()

        def work() -> None:
            _tell(loop, begun, None)
            try:
                result = function()
            except Exception as error:  # noqa: BLE001 - handed to who waits
                _tell(loop, done, None, error)
            else:
                _tell(loop, done, result)

        self._work.put(work)
        await begun
        try:
            return await asyncio.wait_for(asyncio.shield(done), seconds)
        except TimeoutError:
            if not done.done():
                self._replace()
            raise

    def close(self) -> None:
        """Let the threads end that can."""
        for _ in range(self._count):
            self._work.put(None)

    def _replace(self) -> None:
        self._lost += 1
        if self._lost > MOST_LOST:
            raise Unavailable(f"{self._lost} scorers never ended", hint="mend the scorer, or raise scorer_seconds")
        self._start()

    def _start(self) -> None:
        self._count += 1
        threading.Thread(target=self._take, name=f"scorers {self._count}", daemon=True).start()

    def _take(self) -> None:
        while (work := self._work.get()) is not None:
            work()


async def scores(
    sample: Sample, applied: tuple[Applied, ...], threads: Threads, *, seconds: float
) -> Mapping[str, Score]:
    """Apply scorers to a sample. One that raises or takes too long is an error of its score, never a wrong answer."""
    found: dict[str, Score] = {}
    for each in applied:
        if sample.error is not None or sample.answer is None:
            found[each.name] = Score(error=f"no answer: {sample.error}")
        elif each.quick:
            found[each.name] = guarded(each.scorer, sample)
        else:
            try:
                found[each.name] = await threads.run(partial(guarded, each.scorer, sample), seconds=seconds)
            except TimeoutError:
                found[each.name] = Score(error=f"the scorer took longer than {seconds:g} seconds")
    return found


def guarded(scorer: Scorer, sample: Sample) -> Score:
    """Call a scorer; what it raises is an error of the score."""
    try:
        return scorer(sample)
    except Exception as error:  # noqa: BLE001 - a scorer may be anyone's code; its failure is this row's
        return Score(error=f"the scorer failed: {type(error).__name__}: {error}")


def _tell(
    loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any], result: Any, error: Exception | None = None
) -> None:
    def settle() -> None:
        if future.done():
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

    with suppress(RuntimeError):  # the loop is closed: who asked has given up
        loop.call_soon_threadsafe(settle)

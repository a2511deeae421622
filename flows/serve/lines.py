"""Between the event loop that speaks HTTP and the runner's own threads: lines in, records and pieces out."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from flows.line_trace import LineTrace
from flows.results import LineRecord
from flows.runner import Runner
from flows.serve.http import Gone, Receive, Refused, until_gone
from flows.streams import Stream

LOOK_AFTER = 0.25  # seconds after which it is watched whether a client still waits
AHEAD = 32  # pieces of a stream that may wait for a slow client
STREAMS = 256  # at the same time
LEFT = "the client left"


class Handover:
    """Calls that other threads leave to a loop: however many come at once, the loop is woken once."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._left: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._woken = False

    def put(self, call: Callable[..., None], *arguments: Any) -> None:
        """Have the loop make a call; from any thread."""
        self._left.append((call, arguments))
        if not self._woken:
            self._woken = True
            self._loop.call_soon_threadsafe(self._take)

    def _take(self) -> None:
        self._woken = False  # before looking: what is put from now on wakes the loop again
        while self._left:
            call, arguments = self._left.popleft()
            call(*arguments)


class Lines:
    """Runs lines for requests on the loop it was made on. More than `most` at once are refused with 503."""

    def __init__(self, runner: Runner, *, most: int) -> None:
        self._runner = runner
        self._most = most
        self._loop = asyncio.get_running_loop()
        self._handover = Handover(self._loop)
        self._waiting: dict[asyncio.Future[LineRecord], tuple[Receive, float]] = {}
        self._looks = False
        self._readers = ThreadPoolExecutor(STREAMS, "stream")

    async def run(
        self, inputs: Mapping[str, Any], receive: Receive, *, stream: bool, trace: LineTrace | None
    ) -> LineRecord:
        """Return the record of a line; Gone where the client leaves before, and the line is abandoned."""
        if len(self._waiting) >= self._most:
            raise Refused(503, "too many requests at once", code="SystemError", headers=[(b"retry-after", b"1")])
        future: asyncio.Future[LineRecord] = self._loop.create_future()
        self._waiting[future] = receive, self._loop.time()
        if not self._looks:
            self._looks = True
            self._loop.call_later(LOOK_AFTER, self._look, {})
        line = self._runner.start(0, inputs, partial(self._handover.put, _settle, future), stream=stream, trace=trace)
        try:
            return await future
        except Gone:
            self._runner.abandon(line, LEFT)
            raise
        finally:
            del self._waiting[future]

    def pieces(self, stream: Stream) -> Pieces:
        """Return what a stream yields, read by a thread of its own."""
        return Pieces(stream, self._handover, self._readers)

    def close(self) -> None:
        """Let go of the threads."""
        self._readers.shutdown(wait=False, cancel_futures=True)

    def _look(self, watches: dict[asyncio.Future[LineRecord], asyncio.Task[None]]) -> None:
        """Watch the clients of lines that take long. A quick answer costs no watch."""
        for future in [future for future in watches if future.done()]:
            watches.pop(future).cancel()
        if not self._waiting:
            self._looks = False
            return
        old = self._loop.time() - LOOK_AFTER
        for future, (receive, since) in self._waiting.items():
            if since <= old and future not in watches:
                watches[future] = self._loop.create_task(_leave(receive, future))
        self._loop.call_later(LOOK_AFTER, self._look, watches)


class Pieces:
    """The pieces of a stream as they come; a slow client slows the stream, one that leaves ends it."""

    def __init__(self, stream: Stream, handover: Handover, readers: ThreadPoolExecutor) -> None:
        self._stream = stream
        self._handover = handover
        self._came: deque[tuple[Any, BaseException | None]] = deque()
        self._any = asyncio.Event()
        self._room = threading.Semaphore(AHEAD)
        self._left = False
        readers.submit(self._read)

    async def __aiter__(self) -> AsyncIterator[Any]:
        while True:
            while not self._came:
                self._any.clear()
                await self._any.wait()
            piece, error = self._came.popleft()
            self._room.release()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield piece

    def close(self) -> None:
        """Read no more; the generator is closed once it has given the piece it is at."""
        self._left = True
        self._room.release()

    def _read(self) -> None:
        error: BaseException = StopIteration()
        pieces = iter(self._stream)
        try:
            for piece in pieces:
                self._room.acquire()
                if self._left:
                    self._stream.close()
                    return
                self._handover.put(self._arrive, (piece, None))
        except BaseException as problem:  # noqa: BLE001 - the flow's own code may raise anything
            error = problem
        self._handover.put(self._arrive, (None, error))

    def _arrive(self, came: tuple[Any, BaseException | None]) -> None:
        self._came.append(came)
        self._any.set()


async def _leave(receive: Receive, future: asyncio.Future[LineRecord]) -> None:
    await until_gone(receive)
    if not future.done():
        future.set_exception(Gone())


def _settle(future: asyncio.Future[LineRecord], record: LineRecord) -> None:
    if not future.done():
        future.set_result(record)

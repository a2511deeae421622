"""Outputs that come piece by piece: a stream remembers what it gave, so that everyone who reads it reads it whole."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from contextvars import copy_context
from queue import SimpleQueue
from typing import Any

from flows import spans


class Stream:
    """What a generator yields, readable many times and from several threads; the generator itself runs once.

    It runs as part of the node that made it: `span` is that node's, and what the generator does is told under it.
    `is_async` is whether an async generator made it: its readers may use `async for`, too.
    """

    def __init__(self, source: Iterator[Any], *, is_async: bool = False) -> None:
        self.span = spans.current()
        self.is_async = is_async
        self._context = copy_context()
        self._source = source
        self._items: list[Any] = []
        self._error: BaseException | None = None
        self._ended = False
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[Any]:
        position = 0
        while True:
            with self._lock:
                if position == len(self._items):
                    self._advance()
                if position == len(self._items):
                    if self._error is not None:
                        raise self._error
                    return
            yield self._items[position]
            position += 1

    async def __aiter__(self) -> AsyncIterator[Any]:
        for item in self:
            yield item

    def joined(self) -> str:
        """Return everything as one text; raises what the generator raised."""
        return "".join(str(item) for item in self)

    def so_far(self) -> Any:
        """Return what has come, as one text where all of it is text; None before anything has."""
        if all(isinstance(item, str) for item in self._items):
            return "".join(self._items) if self._items or self._ended else None
        return list(self._items)

    def close(self) -> None:
        """Let the generator go, wherever it is; what it gave stays readable. Waits for the piece it is at."""
        with self._lock:
            if not self._ended:
                self._ended = True
                if (close := getattr(self._source, "close", None)) is not None:
                    self._context.run(close)

    def _advance(self) -> None:
        if self._ended:
            return
        try:
            self._items.append(self._context.run(next, self._source))
        except StopIteration:
            self._ended = True
        except BaseException as error:  # noqa: BLE001 - every reader gets it
            self._ended, self._error = True, error


def readers(values: dict[str, Any]) -> dict[str, Any]:
    """Return what a node is given: for each stream a generator of its own, as its code expects."""
    if Stream not in map(type, values.values()):
        return values
    return {
        name: iter(value) if type(value) is Stream and not value.is_async else value for name, value in values.items()
    }


async def collect(source: AsyncIterator[Any]) -> Stream:
    """Read an async generator to its end: a stream of what it gave."""
    return Stream(iter([item async for item in source]), is_async=True)


def pump(source: AsyncIterator[Any]) -> Stream:
    """Return what an async generator yields on this loop as a stream that any thread can read."""
    import asyncio

    queue: SimpleQueue[tuple[Any, BaseException | None] | None] = SimpleQueue()

    async def read() -> None:
        try:
            async for item in source:
                queue.put((item, None))
        except BaseException as error:  # noqa: BLE001 - the reader gets it
            queue.put((None, error))
        queue.put(None)

    loop = asyncio.get_running_loop()
    task = loop.create_task(read())

    def items() -> Iterator[Any]:
        try:
            while (came := queue.get()) is not None:
                if came[1] is not None:
                    raise came[1]
                yield came[0]
        finally:
            with suppress(RuntimeError):  # the loop has been closed
                loop.call_soon_threadsafe(task.cancel)

    return Stream(items())

"""Events from the decode thread to the event loop, which is woken once however many come at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol, TypeVar

_T = TypeVar("_T")


class Wakeable(Protocol):
    """As much of an event loop as another thread needs."""

    def is_closed(self) -> bool: ...

    def call_soon_threadsafe(self, callback: Callable[[], object], /) -> object: ...


class Delivery:
    """Calls that a thread wants made on a loop, in order: a wake-up costs more than handing over what there is."""

    def __init__(self, loop: Wakeable) -> None:
        self._loop = loop
        self._calls: deque[Callable[[], object]] = deque()
        self._woken = False

    def post(self, take: Callable[[_T], object], thing: _T) -> None:
        """Have `take(thing)` called on the loop; once the loop is closed nobody is there to be told."""
        self._calls.append(lambda: take(thing))
        if not self._woken:
            self._woken = True
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._make)

    def _make(self) -> None:
        self._woken = False  # before the last look: what comes later wakes the loop again
        while self._calls:
            self._calls.popleft()()

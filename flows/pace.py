"""How many requests a model server has from us at once: few at first, more as it answers, half when it refuses.

It is how TCP finds the pace of a line (slow start, then additive increase and multiplicative decrease, RFC 5681): a
small server is not flooded when a run begins, a large one is soon used in full.
"""

from __future__ import annotations

import contextlib
from collections import deque
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

FIRST = 8


class Pace:
    """A place among the requests at a time: `async with pace: …`, then `answered()` or `refused()`."""

    def __init__(self, most: int, first: int = FIRST) -> None:
        self._most = most
        self._window = float(min(first, most))
        self._steady = float(most)  # from here on growth is slow
        self._now = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def window(self) -> int:
        """Return how many requests there may be at once by now."""
        return int(self._window)

    def answered(self) -> None:
        """Tell that the server answered: there may be more at once."""
        grown = self._window + (1 if self._window < self._steady else 1 / self._window)
        self._window = min(grown, float(self._most))
        self._wake()

    def refused(self) -> None:
        """Tell that the server was overloaded: there may be half as many at once, and more only slowly."""
        self._window = self._steady = max(self._window / 2, 1.0)

    async def __aenter__(self) -> Pace:
        if self._now < int(self._window) and not self._waiting:
            self._now += 1
            return self
        import asyncio  # most workers never wait for a model, and its import is a fifth of their start

        place = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.cancelled():
                with contextlib.suppress(ValueError):
                    self._waiting.remove(place)
            else:  # the place was given to us in the same moment
                self._leave()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._leave()

    def _leave(self) -> None:
        self._now -= 1
        self._wake()

    def _wake(self) -> None:
        while self._waiting and self._now < int(self._window):
            place = self._waiting.popleft()
            if not place.done():
                self._now += 1
                place.set_result(None)


def asked_pause(said: str) -> float | None:
    """Return the seconds that a Retry-After header asks for, in seconds or by a date; None where it says neither."""
    try:
        return max(float(said), 0.0)
    except ValueError:
        pass
    try:
        return max((parsedate_to_datetime(said) - datetime.now(UTC)).total_seconds(), 0.0)
    except (ValueError, TypeError):
        return None

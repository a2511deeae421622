"""Whether a backend is asked at all: a breaker that opens where it fails, and a budget that keeps retries few."""

from __future__ import annotations

from collections import deque

STREAK = 5  # failures one after the other that open it
SHARE = 0.5  # of at least LEAST requests in WINDOW seconds
LEAST = 20
WINDOW = 30.0
OPEN = 15.0  # seconds before one request may try again
RETRIED = 0.1  # retries a request, over BUDGETED seconds
RESERVE = 3  # retries that are allowed however few the requests are
BUDGETED = 10.0


class Tally:
    """Two counts over the last seconds, second by second: how many, and how many of those."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._slots: deque[list[float]] = deque()
        self.all = self.some = 0.0

    def add(self, now: float, all_: float, some: float) -> None:
        """Count."""
        second = now // 1
        if self._slots and self._slots[-1][0] == second:
            slot = self._slots[-1]
            slot[1] += all_
            slot[2] += some
        else:
            self._slots.append([second, all_, some])
        self.all += all_
        self.some += some
        while self._slots[0][0] < second - self._seconds:
            _, old, of_those = self._slots.popleft()
            self.all -= old
            self.some -= of_those

    def clear(self) -> None:
        """Forget."""
        self._slots.clear()
        self.all = self.some = 0.0


class Breaker:
    """Closed it lets all pass; five failures in a row, or half of twenty, open it; then one request tries."""

    def __init__(self) -> None:
        self._tally = Tally(WINDOW)
        self._streak = 0
        self._until: float | None = None  # open, and when it may be tried; None: closed
        self._trying = False

    @property
    def closed(self) -> bool:
        """Whether all pass."""
        return self._until is None

    def lets(self, now: float) -> bool:
        """Whether a request may pass."""
        return self._until is None or (now >= self._until and not self._trying)

    def wait(self, now: float) -> float:
        """Return the seconds until one may try."""
        return 0.0 if self._until is None else max(0.0, self._until - now)

    def begin(self) -> None:
        """Note that a request passes: with the breaker open it is the one that tries."""
        if self._until is not None:
            self._trying = True

    def note(self, now: float, good: bool | None) -> None:
        """Note how a request that passed has ended; None where nobody can say."""
        if self._until is not None:
            self._trying = False
            if good:
                self._until = None
                self._streak = 0
                self._tally.clear()
            elif good is False:
                self._until = now + OPEN
            return
        if good is None:
            return
        self._streak = 0 if good else self._streak + 1
        self._tally.add(now, 1, 0 if good else 1)
        often = self._tally.all >= LEAST and self._tally.some >= SHARE * self._tally.all
        if not good and (self._streak >= STREAK or often):
            self._until = now + OPEN


class Budget:
    """Retries allowed: one for ten requests of the last seconds, so that a storm of them cannot begin."""

    def __init__(self) -> None:
        self._tally = Tally(BUDGETED)

    def ask(self, now: float) -> None:
        """Count a request."""
        self._tally.add(now, 1, 0)

    def take(self, now: float) -> bool:
        """Return whether one more retry is allowed, and count it."""
        self._tally.add(now, 0, 0)  # lets go of what is too old
        if self._tally.some + 1 > max(RESERVE, RETRIED * self._tally.all):
            return False
        self._tally.add(now, 0, 1)
        return True

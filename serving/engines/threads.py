"""How many threads compute: as many as there are cores to be had, looked at anew while the engine works.

Two threads share each product and wait for each other. On two free cores that gives up to 1.6 times the speed of one;
where a neighbour takes a core it gives less than one alone, for the thread that still runs waits for the other's turn.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

LOOK = 1.0  # seconds between two looks
SPARE = 0.7  # of a core must lie idle for one thread more
LEFT = 0.7  # of each core but the first must come to us for the threads to stay as many


@dataclass(frozen=True, slots=True)
class Clocks:
    """Seconds since some beginning: of the wall, of this process on all cores, and of all cores lying idle."""

    wall: float
    ours: float
    idle: float


class Threads:
    """The number of threads, changed by `look` as cores come and go; `fixed` where somebody has said how many."""

    def __init__(self, cores: int, clocks: Callable[[], Clocks | None], *, fixed: int = 0) -> None:
        self.count = fixed or max(1, cores // 2)
        self._cores = 0 if fixed else cores
        self._clocks = clocks
        self._last = clocks()

    def look(self, now: float) -> int | None:
        """Return the number of threads from now on if it changes; cheap enough to be asked before every step."""
        if self._cores < 2 or self._last is None or now - self._last.wall < LOOK:
            return None
        last, clocks = self._last, self._clocks()
        if clocks is None:
            return None
        self._last = clocks
        took = clocks.wall - last.wall
        ours, idle = (clocks.ours - last.ours) / took, (clocks.idle - last.idle) / took
        count = self.count
        if took > 3 * LOOK:  # nothing was asked meanwhile: what no neighbour took then is ours to begin with
            count = max(1, min(self._cores, int(ours + idle + 1 - SPARE)))
        elif count < self._cores and idle >= SPARE:
            count += 1
        elif count > 1 and ours + idle < 1 + (count - 1) * LEFT:
            count -= 1
        if count == self.count:
            return None
        self.count = count
        return count


def clocks() -> Clocks | None:
    """Read the clocks of this machine; None where it does not tell how idle it is."""
    try:
        told = Path("/proc/stat").read_text().split("\n", 1)[0].split()
    except OSError:
        return None
    return Clocks(time.monotonic(), time.process_time(), int(told[4]) / os.sysconf("SC_CLK_TCK"))

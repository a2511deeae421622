"""Who may be in the machine's memory: an engine that needs room gets it from those that nobody asks, or waits its turn.

An engine that works or loads is never put out. So that a busy one does not keep others out for ever, one that waits for
longer than a turn has those hold that have had a turn: new requests for them wait, those under way end, and they make
room.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from serving.engines.launch import CPU

TURN = 10.0  # seconds that engines at work have before one that waits for room makes them hold
SLOWEST = 60.0  # seconds that a load is reckoned with at most


@dataclass(frozen=True, slots=True, kw_only=True)
class Resident:
    """An engine in memory; seconds.

    `idle` is how long ago it was last asked, `busy` that it works or loads, `served` how long it has been ready.
    """

    key: str
    memory: int
    device: str = CPU
    busy: bool = False
    idle: float = 0.0
    served: float = TURN


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """There is room."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Swap:
    """There is room once these have left, all of them idle."""

    out: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """There is room once engines at work are done; `hold` names those that shall take no new requests."""

    hold: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Never:
    """There would be no room even were it alone; `missing` bytes."""

    missing: int


Verdict = Start | Swap | Wait | Never


def decide(need: Resident, free: int, residents: Sequence[Resident], *, waited: float = 0.0) -> Verdict:
    """Return what happens to an engine that needs room, of which `free` bytes are left beside the residents."""
    if need.memory <= free:
        return Start()
    others = [each for each in residents if each.device == need.device and each.memory and each.key != need.key]
    if need.memory > free + sum(each.memory for each in others):
        return Never(missing=need.memory - free - sum(each.memory for each in others))
    missing = need.memory - free
    if out := _enough([each for each in others if not each.busy], missing):
        return Swap(out=out)
    done = [each for each in others if not each.busy or each.served >= TURN]
    return Wait(hold=_enough(done, missing) if waited >= TURN else ())


def eta(ahead: int, loading: float) -> int:
    """Return in how many seconds one that waits may have its answer, `ahead` others being before it.

    >>> eta(0, 3.2), eta(2, 3.2)
    (14, 40)
    """
    return ceil((ahead + 1) * (TURN + min(loading, SLOWEST)))


def _enough(residents: Sequence[Resident], missing: int) -> tuple[str, ...]:
    """The longest idle of the residents that hold the missing bytes together, none of them for nothing."""
    chosen: list[Resident] = []
    for each in sorted(residents, key=lambda each: (each.busy, -each.idle, each.key)):
        if missing <= 0:
            break
        chosen.append(each)
        missing -= each.memory
    if missing > 0:
        return ()
    for each in sorted(chosen, key=lambda each: (not each.busy, each.idle)):
        if missing + each.memory <= 0:
            chosen.remove(each)
            missing += each.memory
    return tuple(each.key for each in chosen)

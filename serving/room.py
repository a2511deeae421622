"""The queue of engines that need memory: one after the other is let in, by the referee's rules.

`STUDIOLO_ENGINE_MEMORY` says how much all may take together; without it, what the machine has left counts.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Protocol

from serving import machine
from serving.openai_errors import Refusal
from serving.referee import Never, Resident, Start, Swap, Wait, decide, eta

LOOK = 0.1  # seconds between looks at whether there is room


class Lodgers(Protocol):
    """The engines that are in memory, and how they are made to leave."""

    async def residents(self, need: Resident) -> Sequence[Resident]:
        """Return who is there, as one that needs room sees it."""

    async def put_out(self, key: str) -> bool:
        """Make an idle engine leave; False where somebody has just asked it."""

    def hold(self, keys: Iterable[str], by: str) -> None:
        """Let new requests for these engines wait."""

    def release(self, by: str) -> None:
        """Let them go on."""


class Room:
    """Who waits for memory, and who has been promised some."""

    def __init__(self, lodgers: Lodgers, *, budget: int = 0, measure: Callable[[str], int] = machine.free) -> None:
        self._lodgers = lodgers
        self._budget = budget
        self._measure = measure
        self._queue: list[str] = []
        self._promised: dict[str, Resident] = {}

    @property
    def waiting(self) -> Sequence[str]:
        """The engines that wait for room, in their order."""
        return tuple(self._queue)

    async def admit(self, need: Resident, *, loading: float, patience: float) -> None:
        """Return once the engine may take its memory, which is promised to it until `taken`.

        Refusal with the time to come back after, where it has to wait for longer than `patience` or never fits.
        """
        self._queue.append(need.key)
        began = time.monotonic()
        try:
            while not (self._queue[0] == need.key and await self._try(need, waited=time.monotonic() - began)):
                waited = time.monotonic() - began
                if waited >= patience:
                    raise _later(need.key, eta(self._queue.index(need.key), loading))
                await asyncio.sleep(LOOK)
            self._promised[need.key] = need
        finally:
            self._queue.remove(need.key)
            self._lodgers.release(need.key)

    def taken(self, key: str) -> None:
        """Note that an engine has the memory it was promised, or will not come."""
        self._promised.pop(key, None)

    async def _try(self, need: Resident, *, waited: float) -> bool:
        residents = self._with_promised(await self._lodgers.residents(need))
        free = await self._free(need.device, residents)
        match decide(need, free, residents, waited=waited):
            case Start():
                return True
            case Swap(out=out):
                left = await asyncio.gather(*(self._lodgers.put_out(key) for key in out))
                return all(left) and await self._try(need, waited=waited)
            case Wait(hold=hold):
                self._lodgers.hold(hold, need.key)
            case Never(missing=missing):
                raise self._never(need, missing)
        return False

    def _with_promised(self, found: Sequence[Resident]) -> list[Resident]:
        known = {each.key for each in found}
        return [
            *found,
            *(replace(each, busy=True, served=0.0) for key, each in self._promised.items() if key not in known),
        ]

    async def _free(self, device: str, residents: Sequence[Resident]) -> int:
        if self._budget:
            return self._budget - sum(each.memory for each in residents if each.device == device)
        # What is promised has not been taken yet, or not all of it.
        promised = sum(each.memory for each in self._promised.values() if each.device == device)
        return await asyncio.to_thread(self._measure, device) - promised

    def _never(self, need: Resident, missing: int) -> Refusal:
        room = "STUDIOLO_ENGINE_MEMORY allows" if self._budget else "there can be"
        words = f"the engine {need.key} needs {_shown(need.memory)}, {_shown(missing)} more than {room}"
        hint = "raise STUDIOLO_ENGINE_MEMORY" if self._budget else "stop something else, or take a smaller model"
        return Refusal(503, f"{words} ({hint})", code="out_of_memory", headers={"retry-after": "30"})


def _later(key: str, seconds: int) -> Refusal:
    words = f"the engine {key} waits for memory that others use; try again in about {seconds} s"
    return Refusal(503, words, code="waiting_for_memory", headers={"retry-after": str(seconds)})


def _shown(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 10_000_000 else f"{size / 1e6:.2f} MB"

"""The pace of a model server: few requests at first, more as it answers, half when it refuses; no place is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from flows.pace import Pace


@dataclass
class _Asked:
    """What requests saw: how many there were at the same time."""

    now: int = 0
    most: list[int] = field(default_factory=list)

    async def one(self, pace: Pace, *, seconds: float = 0.01, answer: Callable[[], None] | None = None) -> None:
        async with pace:
            self.now += 1
            self.most.append(self.now)
            await asyncio.sleep(seconds)
            self.now -= 1
            if answer:
                answer()


def _all(*work: Awaitable[None]) -> None:
    async def together() -> None:
        await asyncio.gather(*work)

    asyncio.run(together())


def test_requests_begin_few_and_grow_with_every_answer() -> None:
    pace, asked = Pace(64), _Asked()
    _all(*(asked.one(pace, answer=pace.answered) for _ in range(100)))
    assert max(asked.most[:8]) == 8
    assert max(asked.most) > 16
    assert pace.window == 64


def test_there_are_never_more_than_the_most() -> None:
    pace, asked = Pace(5), _Asked()
    _all(*(asked.one(pace, answer=pace.answered) for _ in range(50)))
    assert max(asked.most) == 5


def test_a_refusal_halves_and_growth_is_slow_from_there() -> None:
    pace = Pace(64)
    for _ in range(24):
        pace.answered()
    assert pace.window == 32
    pace.refused()
    assert pace.window == 16
    for _ in range(16):
        pace.answered()
    assert pace.window == 16  # one more for a whole round of answers, no longer one for each
    pace.answered()
    assert pace.window == 17
    for _ in range(20):
        pace.refused()
    assert pace.window == 1


def test_who_gives_up_waiting_takes_no_place_away() -> None:
    async def play() -> list[bool]:
        pace, asked = Pace(1, first=1), _Asked()
        holder = asyncio.create_task(asked.one(pace, seconds=0.05))
        await asyncio.sleep(0)
        waiting = [asyncio.create_task(asked.one(pace)) for _ in range(4)]
        await asyncio.sleep(0.01)
        waiting[0].cancel()
        waiting[2].cancel()
        await holder
        waiting[1].cancel()  # the place was just given to this one
        done = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 5)
        async with asyncio.timeout(5):
            await asked.one(pace)
        return [isinstance(each, asyncio.CancelledError) for each in done]

    assert asyncio.run(play()) == [True, True, True, False]

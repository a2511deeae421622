"""The queue for memory: nobody overfills it, everybody gets in, and who cannot is told when to come back."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.openai_errors import Refusal
from serving.referee import Resident
from serving.room import Room


@dataclass
class House:
    """Engines that are in memory, of which some work."""

    inside: dict[str, Resident] = field(default_factory=dict)
    working: set[str] = field(default_factory=set)
    held: dict[str, str] = field(default_factory=dict)

    async def residents(self, need: Resident) -> Sequence[Resident]:
        return [replace(each, busy=each.key in self.working) for each in self.inside.values()]

    async def put_out(self, key: str) -> bool:
        await asyncio.sleep(0)
        if key in self.working:
            return False
        self.inside.pop(key, None)
        return True

    def hold(self, keys: Iterable[str], by: str) -> None:
        self.held |= dict.fromkeys(keys, by)

    def release(self, by: str) -> None:
        self.held = {key: who for key, who in self.held.items() if who != by}


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=8))
def test_whoever_fits_gets_in_and_the_memory_is_never_overfilled(asks: list[tuple[int, int]]) -> None:
    budget = 10
    needs = [Resident(key=f"e{number}", memory=3 + 2 * number) for number in range(4)]
    house = House()
    room = Room(house, budget=budget)
    most = 0

    async def ask(which: int, steps: int) -> None:
        nonlocal most
        need = needs[which]
        while need.key in house.inside or need.key in room.waiting:
            await asyncio.sleep(0.005)  # one start serves all who ask for the same
        await room.admit(need, loading=1.0, patience=30.0)
        house.inside[need.key] = need
        house.working.add(need.key)
        room.taken(need.key)
        most = max(most, sum(each.memory for each in house.inside.values()))
        for _ in range(steps):
            await asyncio.sleep(0.005)
        house.working.discard(need.key)
        await asyncio.sleep(0)
        house.inside.pop(need.key, None)

    async def all_of_them() -> None:
        await asyncio.gather(*(ask(which, steps) for which, steps in asks))

    asyncio.run(all_of_them())
    assert most <= budget
    assert not room.waiting


async def test_who_waits_for_too_long_is_told_when_to_come_back() -> None:
    house = House({"busy": Resident(key="busy", memory=8)}, working={"busy"})
    room = Room(house, budget=10)
    with pytest.raises(Refusal) as caught:
        await room.admit(Resident(key="x", memory=5), loading=3.0, patience=0.2)
    assert caught.value.status == 503
    assert caught.value.headers["retry-after"] == "13"
    assert "try again in about 13 s" in str(caught.value)
    assert not room.waiting


async def test_one_that_never_fits_is_refused_at_once_with_the_setting_to_raise() -> None:
    with pytest.raises(Refusal, match="STUDIOLO_ENGINE_MEMORY") as caught:
        await Room(House(), budget=10).admit(Resident(key="x", memory=11), loading=1.0, patience=60.0)
    assert caught.value.code == "out_of_memory"


async def test_the_first_to_wait_is_the_first_to_get_in() -> None:
    house = House({"busy": Resident(key="busy", memory=10)}, working={"busy"})
    room = Room(house, budget=10)
    order: list[str] = []

    async def come(key: str) -> None:
        await room.admit(Resident(key=key, memory=6), loading=1.0, patience=30.0)
        order.append(key)
        room.taken(key)

    tasks = []
    for key in ("one", "two", "three"):
        tasks.append(asyncio.create_task(come(key)))
        await asyncio.sleep(0.02)
    assert room.waiting == ("one", "two", "three")
    house.working.clear()
    await asyncio.gather(*tasks)
    assert order == ["one", "two", "three"]


async def test_one_that_waits_for_a_promise_to_be_kept_is_not_told_that_it_never_fits() -> None:
    room = Room(House(), budget=10)
    await room.admit(Resident(key="a", memory=6), loading=1.0, patience=1.0)
    with pytest.raises(Refusal) as caught:
        await room.admit(Resident(key="b", memory=6), loading=1.0, patience=0.2)
    assert caught.value.code == "waiting_for_memory"


async def test_what_is_promised_is_no_longer_free() -> None:
    room = Room(House(), measure=lambda _: 10)
    await room.admit(Resident(key="a", memory=6), loading=1.0, patience=1.0)
    with pytest.raises(Refusal):
        await room.admit(Resident(key="b", memory=6), loading=1.0, patience=0.0)
    room.taken("a")
    await room.admit(Resident(key="b", memory=6), loading=1.0, patience=0.0)

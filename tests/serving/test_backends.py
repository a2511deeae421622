"""Which replica takes a request."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.backends import Backends, Load
from serving.breaker import STREAK
from serving.endpoints import Deployment
from serving.openai_errors import Refusal
from serving.upstream import Address

A, B, C = (Address.parse(f"http://127.0.0.1:{port}") for port in (1, 2, 3))


def deployment(**given: float) -> Deployment:
    return Deployment(endpoint="mock", name="blue", engine="openai", model="m", properties={"settings": given})


async def test_the_replica_with_most_room_is_taken() -> None:
    backends, way = Backends(), deployment()
    places = [await backends.place(way, [A, B, C]) for _ in range(9)]
    assert Counter(place.address for place in places) == {A: 3, B: 3, C: 3}
    for place in places:
        if place.address == B:
            place.leave(good=True)
    assert (await backends.place(way, [A, B, C])).address == B
    assert backends.load(way) == Load(7, 0)


async def test_one_that_was_tried_is_taken_only_where_there_is_no_other() -> None:
    backends, way = Backends(), deployment()
    assert (await backends.place(way, [A, B], avoid=[A])).address == B
    assert (await backends.place(way, [A], avoid=[A])).address == A


async def test_one_that_asked_for_rest_is_left_alone_where_there_is_another() -> None:
    backends, way = Backends(), deployment()
    first = await backends.place(way, [A, B])
    first.rest(5.0)
    first.leave(good=True)
    assert {(await backends.place(way, [A, B])).address for _ in range(3)} == {A, B} - {first.address}


async def test_one_whose_breaker_is_open_gets_nothing() -> None:
    backends, way = Backends(), deployment()
    for _ in range(STREAK):
        (await backends.place(way, [A])).leave(good=False)
    assert {(await backends.place(way, [A, B])).address for _ in range(5)} == {B}
    with pytest.raises(Refusal) as caught:
        await backends.place(way, [A])
    assert (caught.value.status, caught.value.code) == (503, "no_healthy_backend")


async def test_who_waits_when_the_last_replica_fails_is_told_at_once() -> None:
    backends, way = Backends(), deployment(concurrency=1, queue_wait=30)
    for _ in range(STREAK - 1):
        (await backends.place(way, [A])).leave(good=False)
    last = await backends.place(way, [A])
    waiter = asyncio.create_task(backends.place(way, [A]))
    await asyncio.sleep(0)
    last.leave(good=False)
    with pytest.raises(Refusal) as caught:
        await asyncio.wait_for(waiter, 1)
    assert caught.value.status == 503


async def test_a_place_given_in_the_moment_its_owner_leaves_goes_to_the_next() -> None:
    backends, way = Backends(), deployment(concurrency=1)
    first = await backends.place(way, [A])
    second, third = [asyncio.create_task(backends.place(way, [A])) for _ in range(2)]
    await asyncio.sleep(0)
    first.leave(good=True)
    second.cancel()
    assert (await asyncio.wait_for(third, 1)).address == A
    assert backends.load(way) == Load(1, 0)


@settings(deadline=None)
@given(st.lists(st.sampled_from(["ask", "answer", "leave", "fail"]), max_size=60), st.integers(1, 3))
def test_whatever_happens_no_place_is_lost_or_given_twice(acts: list[str], cap: int) -> None:
    async def go() -> None:
        backends, way = Backends(), deployment(concurrency=cap)
        waiting: list[asyncio.Task[object]] = []
        for act in acts:
            done = [task for task in waiting if task.done() and not task.cancelled() and not task.exception()]
            if act == "ask":
                waiting.append(asyncio.create_task(backends.place(way, [A, B])))
            elif act == "leave" and waiting:
                waiting[-1].cancel()
            elif done:
                waiting.remove(done[0])
                done[0].result().leave(good=act == "answer")  # type: ignore[attr-defined]
            await asyncio.sleep(0)
            assert backends.load(way).active <= 2 * cap
            assert backends.load(way).waiting <= 4 * cap
        for task in waiting:
            task.cancel()
        for task in waiting:
            if not task.cancelled() and task.done() and not task.exception():
                task.result().leave(good=True)  # type: ignore[attr-defined]
        await asyncio.gather(*waiting, return_exceptions=True)
        await asyncio.sleep(0)
        late = [task for task in waiting if not task.cancelled() and not task.exception()]
        for task in late:
            task.result().leave(good=True)  # type: ignore[attr-defined]
        assert backends.load(way) == Load(0, 0)

    asyncio.run(go())

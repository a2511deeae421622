"""What fails before its first byte is made good elsewhere, within bounds; what fails after it is told."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from serving.breaker import OPEN, Breaker, Budget
from tests.serving.conftest import answer, scripted

if TYPE_CHECKING:
    from tests.serving.conftest import House, Script, Wire

NOBODY = 9  # a port where nobody listens


def saying(status: int, *, after: str = "", times: int = 1_000_000) -> Script:
    """Answer with a status so many times, then as usual."""
    left = times

    async def script(wire: Wire) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            await answer(wire)
            return
        head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: 22\r\n"
        await wire.send(f'{head}{after}\r\n{{"error": {{"code": 1}}}}\n'.encode())

    return script


async def with_fallback(house: House, port: int) -> None:
    """Let "green" stand in for "blue"."""
    house.deploy("green", port)
    await house.changed(properties={"fallback": ["green"]})


async def test_who_refuses_the_connection_is_stood_in_for_in_no_time(house: House) -> None:
    house.deploy("blue", NOBODY)
    await with_fallback(house, house.upstream.port)
    for _ in range(30):
        found = await house.ask()
        assert (found.status_code, found.headers["x-studiolo-deployment"]) == (200, "mock/green")


async def test_the_row_says_what_failed_on_the_way(house: House) -> None:
    house.upstream.script = saying(503)
    async with scripted(answer) as other:
        await with_fallback(house, other.port)
        assert (await house.ask()).status_code == 200
        while not (rows := house.rows()):
            await asyncio.sleep(0.02)
        assert (rows[0]["deployment"], rows[0]["failures"]) == ("mock/green", ["mock/blue 503"])


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
@pytest.mark.parametrize("stream", [True, False])
async def test_a_failure_before_the_first_byte_is_tried_again(house: House, status: int, stream: bool) -> None:
    house.upstream.script = saying(status, times=1)
    found = await house.ask(stream=stream)
    assert found.status_code == 200
    assert len(house.upstream.wires) == 2


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 422])
async def test_no_other_error_is_tried_again(house: House, status: int) -> None:
    house.upstream.script = saying(status)
    assert (await house.ask()).status_code == status
    assert len(house.upstream.wires) == 1


async def test_a_500_is_tried_once_more_and_no_more(house: House) -> None:
    house.upstream.script = saying(500)
    assert (await house.ask()).status_code == 500
    assert len(house.upstream.wires) == 2


async def test_who_says_that_asking_again_is_no_use_is_not_asked_again_and_is_alive(house: House) -> None:
    house.upstream.script = saying(500, after="x-should-retry: false\r\n")
    async with scripted(answer) as other:
        await with_fallback(house, other.port)
        for number in range(1, 9):
            found = await house.ask()
            assert (found.status_code, found.headers["x-should-retry"]) == (500, "false")
            assert (len(house.upstream.wires), len(other.wires)) == (number, 0)  # no breaker has opened


async def test_others_are_tried_twice_more_and_the_engines_words_are_told(house: House) -> None:
    house.upstream.script = saying(503)
    found = await house.ask()
    assert (found.status_code, found.json()) == (503, {"error": {"code": 1}})
    assert len(house.upstream.wires) == 3


async def test_the_time_that_an_engine_asks_for_is_waited(house: House) -> None:
    house.upstream.script = saying(429, after="retry-after: 2\r\n", times=1)
    began = time.monotonic()
    assert (await house.ask()).status_code == 200
    assert time.monotonic() - began >= 2


async def test_who_asks_for_more_patience_than_there_is_is_passed_on(house: House) -> None:
    house.upstream.script = saying(429, after="retry-after: 60\r\n")
    found = await house.ask()
    assert (found.status_code, found.headers["retry-after"]) == (429, "60")
    assert len(house.upstream.wires) == 1


async def test_a_hundred_that_are_refused_together_make_no_storm(house: House) -> None:
    house.upstream.script = saying(429, after="retry-after: 1\r\n")
    answers = await asyncio.gather(*[house.ask() for _ in range(100)])
    assert {each.status_code for each in answers} == {429}
    assert {each.headers["retry-after"] for each in answers} == {"1"}
    assert len(house.upstream.wires) <= 110


async def test_after_the_first_byte_nothing_is_tried_again(house: House) -> None:
    async def die(wire: Wire) -> None:
        await wire.stream("Hel")

    house.upstream.script = die
    async with scripted(answer) as other:
        await with_fallback(house, other.port)
        found = await house.ask(stream=True)
        assert found.text.count("Hel") == 1
        assert "event: error\ndata: " in found.text
        assert "[DONE]" not in found.text
        assert len(house.upstream.wires) + len(other.wires) == 1


async def test_with_all_down_the_answer_is_a_503_with_a_code_and_the_breaker_makes_it_quick(house: House) -> None:
    house.deploy("blue", NOBODY)
    await house.changed()
    answers = [await house.ask() for _ in range(8)]
    assert {each.status_code for each in answers} == {503}
    assert answers[0].json()["error"]["code"] == "unavailable"
    assert answers[-1].json()["error"]["code"] == "no_healthy_backend"
    assert 1 <= int(answers[-1].headers["retry-after"]) <= OPEN


async def test_a_full_queue_is_a_429_at_once_and_none_hangs(house: House) -> None:
    go = asyncio.Event()

    async def wait(wire: Wire) -> None:
        await go.wait()
        await answer(wire)

    house.upstream.script = wait
    house.deploy("blue", house.upstream.port, concurrency=2, queue_wait=5.0)
    await house.changed()
    asked = [asyncio.create_task(house.ask()) for _ in range(12)]
    refused, waiting = await asyncio.wait(asked, timeout=2.0)
    assert len(waiting) == 2 + 4  # at work, and twice as many in the queue
    assert {task.result().status_code for task in refused} == {429}
    assert {task.result().headers["retry-after"] for task in refused} == {"1"}
    assert len(house.upstream.wires) == 2
    go.set()
    assert {each.status_code for each in await asyncio.gather(*waiting)} == {200}


async def test_who_waits_too_long_in_the_queue_is_told_so(house: House) -> None:
    house.deploy("blue", house.upstream.port, concurrency=1, queue_wait=0.2)
    await house.changed()

    async def slow(wire: Wire) -> None:
        await asyncio.sleep(0.8)
        await answer(wire)

    house.upstream.script = slow
    answers = await asyncio.gather(*[house.ask() for _ in range(3)])
    assert sorted(each.status_code for each in answers) == [200, 429, 429]


async def test_who_leaves_the_queue_makes_room(house: House) -> None:
    go = asyncio.Event()

    async def wait(wire: Wire) -> None:
        await go.wait()
        await answer(wire)

    house.upstream.script = wait
    house.deploy("blue", house.upstream.port, concurrency=1)
    await house.changed()
    first, second, third = [asyncio.create_task(house.ask()) for _ in range(3)]
    await asyncio.sleep(0.2)
    second.cancel()
    await asyncio.sleep(0.1)
    fourth = asyncio.create_task(house.ask())
    go.set()
    assert {each.status_code for each in await asyncio.gather(first, third, fourth)} == {200}
    assert len(house.upstream.wires) == 3


async def test_a_deployment_may_have_less_time_than_the_gateway_gives(house: House) -> None:
    async def hang(wire: Wire) -> None:
        await wire.closed()

    house.upstream.script = hang
    house.deploy("blue", house.upstream.port, timeout=0.3)
    await house.changed()
    found = await house.ask()
    assert (found.status_code, found.json()["error"]["code"]) == (504, "timeout")


def test_five_failures_in_a_row_open_a_breaker_and_one_good_try_closes_it() -> None:
    breaker = Breaker()
    for _ in range(4):
        breaker.note(0.0, good=False)
    assert breaker.lets(0.0)
    breaker.note(0.0, good=False)
    assert not breaker.lets(OPEN - 0.1)
    assert breaker.lets(OPEN)
    breaker.begin()
    assert not breaker.lets(OPEN)  # one tries, the others wait for what it finds
    breaker.note(OPEN, good=False)
    assert not breaker.lets(OPEN + 1)
    assert breaker.lets(2 * OPEN)
    breaker.begin()
    breaker.note(2 * OPEN, good=True)
    assert breaker.closed
    assert breaker.lets(2 * OPEN)


def test_half_of_twenty_in_thirty_seconds_open_a_breaker_and_what_is_older_does_not_count() -> None:
    young, old = Breaker(), Breaker()
    for number in range(20):
        young.note(number / 10, good=bool(number % 2))
        old.note(number * 3.0, good=bool(number % 2))
    young.note(2.0, good=False)
    old.note(60.0, good=False)
    assert not young.lets(3.0)
    assert old.lets(61.0)


def test_one_whose_client_left_while_it_tried_leaves_the_try_to_the_next() -> None:
    breaker = Breaker()
    for _ in range(5):
        breaker.note(0.0, good=False)
    breaker.begin()
    breaker.note(OPEN, good=None)
    assert breaker.lets(OPEN)


def test_a_budget_allows_one_retry_for_ten_requests_and_a_few_at_the_start() -> None:
    young, budget = Budget(), Budget()
    for _ in range(100):
        budget.ask(0.0)
    assert sum(budget.take(1.0) for _ in range(100)) == 10
    assert sum(young.take(0.0) for _ in range(10)) == 3
    assert budget.take(20.0)  # ten seconds later that is forgotten

"""How soon the gateway answers where something is wrong: middle times side by side, which a busy machine bears.

`make faults` prints the times themselves, the 95th and 99th percentiles among them.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from typing import TYPE_CHECKING

import pytest

from serving.breaker import STREAK
from tests.serving.conftest import answer, scripted

if TYPE_CHECKING:
    from tests.serving.conftest import House, Wire

pytestmark = pytest.mark.alone
NOBODY = 9  # a port where nobody listens


async def hang(wire: Wire) -> None:
    await wire.closed()


async def asked(house: House, model: str = "mock", *, port: int | None = None) -> tuple[float, int]:
    """Ask over a connection of its own, the gateway or another server; return the seconds and the status."""
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "Hello"}]}).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {house.token}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    began = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port or int(house.base_url.rpartition(":")[2]))
    writer.write(head.encode() + body)
    text = await reader.read()
    took = time.perf_counter() - began
    writer.close()
    return took, int(text.split(b" ", 2)[1])


async def side_by_side(house: House, one: str, other: str, times: int) -> tuple[float, float, set[int]]:
    """Ask for two models in turn; return the middle times of both, and all statuses."""
    found: list[tuple[float, int]] = []
    for _ in range(times):
        found += [await asked(house, one), await asked(house, other)]
    middle = [statistics.median(seconds for seconds, _ in found[start::2]) for start in (0, 1)]
    return middle[0], middle[1], {status for _, status in found}


async def test_a_refused_connection_adds_less_than_50_ms(house: House) -> None:
    house.deploy("blue", NOBODY)
    house.deploy("green", house.upstream.port)
    await house.changed(properties={"fallback": ["green"]})
    await asked(house, "mock/green")
    # While its breaker is closed each tries the dead one first; then none does.
    for times in (STREAK, 30):
        with_it, without, statuses = await side_by_side(house, "mock", "mock/green", times)
        assert statuses == {200}
        assert with_it - without < 0.05
    assert len(house.upstream.wires) == 1 + 2 * STREAK + 2 * 30


async def test_a_full_queue_is_told_within_50_ms_and_none_hangs(house: House) -> None:
    go = asyncio.Event()

    async def wait(wire: Wire) -> None:
        await go.wait()
        await answer(wire)

    house.upstream.script = wait
    house.deploy("blue", house.upstream.port, concurrency=1, queue_wait=30.0)
    await house.changed()
    waiting = [asyncio.create_task(asked(house)) for _ in range(3)]  # one at work, two in the queue
    while (load := house.door.house.plane.backends.loads.get("mock/blue")) is None or load.waiting < 2:
        await asyncio.sleep(0.01)
    found = [await asked(house) for _ in range(30)]
    assert {status for _, status in found} == {429}
    assert statistics.median(seconds for seconds, _ in found) < 0.05
    go.set()
    assert {status for _, status in await asyncio.wait_for(asyncio.gather(*waiting), 10)} == {200}


async def test_with_all_down_that_is_told_within_100_ms(house: House) -> None:
    house.deploy("blue", NOBODY)
    house.deploy("green", NOBODY)
    await house.changed(properties={"fallback": ["green"]})
    found = [await asked(house) for _ in range(30)]
    assert {status for _, status in found} == {503}
    first, later = found[:STREAK], found[-20:]  # by trying, and by what the breakers know
    for part in (first, later):
        assert statistics.median(seconds for seconds, _ in part) < 0.1


async def test_a_mirror_that_hangs_changes_nothing_for_the_others(house: House) -> None:
    async with scripted(hang) as shadow:
        house.deploy("green", shadow.port)
        await house.changed(mirror={"green": 50})
        for _ in range(60):  # until as many hang as may
            await asked(house)
        assert 0 < len(shadow.wires) <= 8
        with_it, without, statuses = await side_by_side(house, "mock", "mock/blue", 150)
        assert statuses == {200}
        assert with_it < 1.5 * without + 0.002
        assert house.door.house.mirror.dropped > 0


async def test_at_200_requests_a_second_the_gateway_adds_less_than_5_ms(house: House) -> None:
    await asked(house)
    pending: list[asyncio.Task[tuple[float, int]]] = []
    for number in range(400):
        port = house.upstream.port if number % 2 else None
        pending.append(asyncio.create_task(asked(house, port=port)))
        await asyncio.sleep(1 / 200)
    found = await asyncio.gather(*pending)
    assert {status for _, status in found} == {200}
    ours, theirs = (statistics.median(seconds for seconds, _ in found[start::2]) for start in (0, 1))
    assert ours - theirs < 0.005

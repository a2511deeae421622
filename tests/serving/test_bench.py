"""The load generator against a gateway over a scripted server: what it counts, what it calls an error, how it ends."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from serving import bench, bench_asks, bench_page, endpoints
from serving.bench import Load, Plan, Summary
from serving.local import Gateway
from tests.serving.conftest import answer, delta
from workspace.errors import Invalid, NotFound, Unavailable

if TYPE_CHECKING:
    from tests.serving.conftest import House, Wire


async def measured(house: House, **plan: Any) -> tuple[Load, Summary]:
    path, bodies = bench_asks.asks(house.workspace, "mock", ["Hello", "Bye"], stream=plan.pop("stream", True))
    load = Load(Plan(bodies=bodies, path=path, **plan), Gateway(f"{house.base_url}/v1", house.token))
    await load.warm()
    async for _ in load.run():
        pass
    return load, bench.summary(load)


async def test_clients_ask_one_request_after_another_and_all_is_counted(house: House) -> None:
    load, found = await measured(house, clients=4, requests=40)
    assert (found.requests, found.failed, found.completion_tokens, found.prompt_tokens) == (40, 0, 80, 280)
    assert found.requests_per_second == pytest.approx(40 / load.seconds)
    assert set(found.first_token) == set(found.latency) == {0.5, 0.9, 0.95, 0.99}
    assert all(outcome.first and outcome.first <= outcome.seconds for outcome in load.outcomes)
    said = [wire.request["messages"][0]["content"] for wire in house.upstream.wires]
    assert said.count("Bye") == 20


async def test_the_first_token_is_the_first_that_says_something_and_gaps_are_between_such(house: House) -> None:
    async def late(wire: Wire) -> None:
        await wire.stream("")
        for text in ("Hel", "lo"):
            await asyncio.sleep(0.2)
            await wire.event(delta(text))
        await wire.event("[DONE]")
        await wire.send(b"0\r\n\r\n")

    house.upstream.script = late
    load, found = await measured(house, requests=2)
    assert all(outcome.first and outcome.first >= 0.19 for outcome in load.outcomes)
    assert found.completion_tokens == 4  # events, as the server did not say
    assert len(load.gaps) == 2
    assert min(load.gaps) >= 0.19


@pytest.mark.alone
async def test_at_a_rate_requests_count_from_when_they_were_due(house: House) -> None:
    async def slow(wire: Wire) -> None:
        await asyncio.sleep(0.3)
        await answer(wire)

    house.upstream.script = slow
    load, found = await measured(house, rate=40.0, requests=40)
    assert found.requests == 40
    assert found.seconds < 3.0  # one client would have taken twelve
    assert found.latency[0.5] >= 0.29
    assert [each.began for each in sorted(load.outcomes, key=lambda each: each.began)][-1] > 0.3


async def test_errors_are_told_by_kind(house: House) -> None:
    count = 0

    async def fails(wire: Wire) -> None:
        nonlocal count
        count += 1
        if count == 1:
            await answer(wire)
        elif count % 2:
            await wire.json({"error": {"message": "no", "code": "bad_day"}}, status=400)
        else:
            await wire.stream("Hel")
            await wire.event({"error": {"message": "broken", "code": "engine_failed"}})
            await wire.send(b"0\r\n\r\n")

    house.upstream.script = fails
    _, found = await measured(house, requests=10)
    assert found.errors == {"400 bad_day": 5, "in the stream: engine_failed": 5}
    assert (found.failed, found.latency, found.tokens_per_second) == (10, {}, 0.0)


async def test_a_load_that_is_stopped_keeps_what_it_has_measured(house: House) -> None:
    path, bodies = bench_asks.asks(house.workspace, "mock", ["Hello"], stream=False)
    load = Load(Plan(bodies=bodies, path=path, clients=2, seconds=60.0), Gateway(f"{house.base_url}/v1", house.token))
    asyncio.get_running_loop().call_later(0.3, load.stop)
    async for _ in load.run():
        pass
    found = bench.summary(load)
    assert found.requests > 0
    assert found.seconds < 5.0
    assert not found.first_token  # without a stream nobody knows


async def test_what_cannot_be_asked_is_said_before_the_load(house: House) -> None:
    async def refuse(wire: Wire) -> None:
        await wire.json({"error": {"message": "no", "code": "bad_day"}}, status=400)

    house.upstream.script = refuse
    with pytest.raises(Unavailable, match="400 bad_day"):
        await measured(house, requests=1)


async def test_the_page_shows_what_was_measured_and_brings_nothing_from_elsewhere(house: House) -> None:
    load, found = await measured(house, requests=30, clients=3)
    page = bench_page.page(load, found, title="Load on <mock>")
    assert "Load on &lt;mock&gt;" in page
    assert page.count("<circle class=a") == 30
    assert page.count("<polyline") == 2
    assert "http" not in page.replace("http-equiv", "")
    empty = Load(load.plan, load.gateway)
    assert "<svg" not in bench_page.page(empty, bench.summary(empty), title="none")


def test_prompts_are_texts_a_line_or_requests_as_json(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\n\ntwo\n")
    (tmp_path / "b.jsonl").write_text('"one"\n{"messages": [], "seed": 1}\n')
    (tmp_path / "c.jsonl").write_text('"one"\n{"messages"\n')
    assert bench_asks.read(tmp_path / "a.txt") == ["one", "two"]
    assert bench_asks.read(tmp_path / "b.jsonl") == ["one", {"messages": [], "seed": 1}]
    with pytest.raises(Invalid, match=r"c\.jsonl:2: no JSON"):
        bench_asks.read(tmp_path / "c.jsonl")
    with pytest.raises(NotFound, match=r"cannot read"):
        bench_asks.read(tmp_path / "d.txt")


async def test_what_is_asked_fits_the_engine(house: House) -> None:
    endpoints.put(house.workspace, "sums")
    endpoints.put_deployment(house.workspace, "sums", "blue", engine="script", properties={"code": "component:x:1"})
    assert bench_asks.asks(house.workspace, "sums", [{"rows": [1]}]) == ("/endpoints/sums/score", [b'{"rows": [1]}'])
    path, bodies = bench_asks.asks(house.workspace, "mock/blue", [{"prompt": "hi", "n": 2}, {"prompt": "hi"}])
    assert path == "/v1/chat/completions"
    assert json.loads(bodies[0])["model"] == "mock/blue"
    assert json.loads(bodies[1])["messages"] == [{"role": "user", "content": "hi"}]
    with pytest.raises(NotFound, match="no endpoint 'mok'"):
        bench_asks.asks(house.workspace, "mok", ["hi"])


def test_shares_are_the_values_that_so_many_do_not_exceed() -> None:
    assert bench.shares([1.0]) == dict.fromkeys(bench.SHARES, 1.0)
    assert bench.shares(float(n) for n in range(1, 101)) == {0.5: 50.0, 0.9: 90.0, 0.95: 95.0, 0.99: 99.0}
    assert bench.shares([]) == {}

"""What a key may ask for is held to, counted and told, at the gateway and in what is kept."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from serving import usage
from serving.key_limits import KeyLimits
from serving.meters import span
from workspace.errors import Invalid

if TYPE_CHECKING:
    from tests.serving.conftest import House, Wire


async def ask(house: House, key: str, **more: Any) -> httpx.Response:
    body = {"model": "mock", "messages": [{"role": "user", "content": "Hello"}], **more}
    return await house.http.post("/v1/chat/completions", json=body, headers={"authorization": f"Bearer {key}"})


def new_key(house: House, *, endpoints: list[str] | None = None, **limits: Any) -> str:
    return house.workspace.tokens.create("k", "viewer", endpoints=endpoints, limits=KeyLimits(**limits).kept())


async def used(house: House, key: str, requests: int) -> usage.Used:
    """Wait until so many requests are written down."""
    identifier = house.workspace.tokens.check(key).id
    while (found := usage.spent(house.workspace.database, identifier, "day")).requests < requests:
        await asyncio.sleep(0.05)
    return found


async def test_a_key_asks_its_own_endpoints_only_and_sees_no_others(house: House) -> None:
    other, own = new_key(house, endpoints=["elsewhere"]), new_key(house, endpoints=["mock"])
    refused = await ask(house, other)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "model_not_allowed")
    assert (await ask(house, other, model="mock/blue")).status_code == 403
    assert (await ask(house, own)).status_code == 200
    listed = await house.http.get("/v1/models", headers={"authorization": f"Bearer {other}"})
    assert listed.json()["data"] == []
    assert house.upstream.wires[0].request["model"] == "m"
    assert len(house.upstream.wires) == 1


async def test_requests_a_minute_are_held_to_and_what_is_left_is_told(house: House) -> None:
    key = new_key(house, requests_per_minute=2)
    first = await ask(house, key)
    assert first.headers["x-ratelimit-limit-requests"] == "2"
    assert first.headers["x-ratelimit-remaining-requests"] == "1"
    assert first.headers["x-ratelimit-reset-requests"] == "30s"
    await ask(house, key)
    refused = await ask(house, key)
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    assert 25 <= int(refused.headers["retry-after"]) <= 30
    assert refused.headers["x-ratelimit-remaining-requests"] == "0"


async def test_tokens_a_minute_are_counted_when_an_answer_has_ended(house: House) -> None:
    key = new_key(house, tokens_per_minute=9)  # an answer of the scripted server has 9
    assert (await ask(house, key, stream=True)).status_code == 200
    refused = await ask(house, key)
    assert "9 tokens a minute" in refused.json()["error"]["message"]


async def test_so_many_at_a_time_and_the_place_is_free_again_when_a_client_leaves(house: House) -> None:
    async def hang(wire: Wire) -> None:
        await wire.closed()

    answers, house.upstream.script = house.upstream.script, hang
    key = new_key(house, concurrency=1)
    under_way = asyncio.create_task(ask(house, key))
    while not house.upstream.wires:
        await asyncio.sleep(0.01)
    assert (await ask(house, key)).status_code == 429
    under_way.cancel()
    house.upstream.script = answers
    while (await ask(house, key)).status_code != 200:
        await asyncio.sleep(0.05)


async def test_a_budget_of_tokens_ends_and_outlives_the_gateway(house: House) -> None:
    key = new_key(house, budget_tokens=10)
    assert [(await ask(house, key)).status_code for _ in range(3)] == [200, 200, 429]
    assert (await used(house, key, 2)).tokens == 18
    house.door.house.meters._meters.clear()  # as a gateway that has just come back
    refused = await ask(house, key)
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "insufficient_quota")
    assert "18 tokens" in refused.json()["error"]["message"]


async def test_a_budget_of_money_follows_the_price_list(house: House) -> None:
    (house.workspace.home / "prices.yaml").write_text("mock: {input: 1000000, output: 0}\n")  # a dollar a token
    key = new_key(house, budget=7.0)
    assert [(await ask(house, key)).status_code for _ in range(2)] == [200, 429]
    assert (await used(house, key, 1)).cost == 7.0


async def test_what_keys_used_is_kept_by_day_and_endpoint(house: House) -> None:
    for _ in range(3):
        await ask(house, house.token)
    await used(house, house.token, 3)
    found = usage.by_endpoint(house.workspace.database, house.workspace.tokens.check(house.token).id)
    assert {key: asdict(value) for key, value in found.items()} == {
        (usage.today(), "mock"): {"requests": 3, "prompt_tokens": 21, "completion_tokens": 6, "cost": 0.0}
    }


async def test_a_key_that_is_revoked_opens_nothing_within_five_seconds(house: House) -> None:
    key = new_key(house)
    assert (await ask(house, key)).status_code == 200
    house.workspace.tokens.revoke(house.workspace.tokens.check(key).id)
    async with asyncio.timeout(5):
        while (await ask(house, key)).status_code != 401:
            await asyncio.sleep(0.2)


async def test_a_row_says_what_a_request_cost_and_what_its_answer_is_called(house: House) -> None:
    for stream in (False, True):
        await ask(house, house.token, stream=stream)
    while len(rows := house.rows()) < 2:
        await asyncio.sleep(0.02)
    assert [(row["cost"], row["response_id"]) for row in rows] == [(0.0, "c"), (0.0, "c")]


@pytest.mark.parametrize("limits", [{"concurrency": 0}, {"budget": -1.0}, {"period": "year"}])
def test_limits_that_cannot_be_are_refused(limits: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        KeyLimits(**limits)


def test_limits_are_kept_only_where_there_are_any() -> None:
    assert KeyLimits().kept() is None
    limits = KeyLimits(tokens_per_minute=5, period="day")
    assert KeyLimits.of(limits.kept()) == limits


@pytest.mark.parametrize(("seconds", "text"), [(0, "0ms"), (1, "1s"), (360, "6m0s"), (3_661, "1h1m1s")])
def test_a_time_is_written_as_openai_writes_it(seconds: float, text: str) -> None:
    assert span(seconds) == text

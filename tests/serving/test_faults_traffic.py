"""Traffic at the gateway: cohorts, a named deployment, a split that changes under load, copies that hang."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from serving import endpoints
from tests.serving.conftest import answer, scripted

if TYPE_CHECKING:
    from tests.serving.conftest import House, Wire


async def hang(wire: Wire) -> None:
    await wire.closed()


async def rows_of(house: House, number: int, **like: Any) -> list[dict[str, Any]]:
    """Wait for so many rows that hold these values."""
    while True:
        found = [row for row in house.rows() if like.items() <= row.items()]
        if len(found) >= number:
            return found
        await asyncio.sleep(0.02)


async def test_a_user_meets_one_deployment_and_is_told_its_cohort(house: House) -> None:
    house.deploy("green", house.upstream.port)
    await house.changed(traffic={"blue": 50, "green": 50})
    answers = [await house.ask(user="u-1") for _ in range(30)]
    assert len({each.headers["x-studiolo-deployment"] for each in answers}) == 1
    assert len({each.headers["x-studiolo-cohort"] for each in answers}) == 1
    others = [await house.ask(headers={"x-session-id": f"s-{number}"}) for number in range(30)]
    assert {each.headers["x-studiolo-deployment"] for each in others} == {"mock/blue", "mock/green"}


async def test_who_has_no_name_has_no_cohort(house: House) -> None:
    assert "x-studiolo-cohort" not in (await house.ask()).headers


async def test_a_header_names_the_deployment_whatever_its_traffic(house: House) -> None:
    house.deploy("green", house.upstream.port)
    await house.changed()
    found = await house.ask(headers={"azureml-model-deployment": "green"})
    assert found.headers["x-studiolo-deployment"] == "mock/green"
    unknown = await house.ask(headers={"azureml-model-deployment": "red"})
    assert (unknown.status_code, unknown.json()["error"]["param"]) == (404, "model")
    assert "blue, green" in unknown.json()["error"]["message"]


async def test_a_hundred_changes_of_the_split_under_load_fail_no_request(house: House) -> None:
    house.deploy("green", house.upstream.port)
    stop = asyncio.Event()
    seen: Counter[tuple[int, str]] = Counter()

    async def load() -> None:
        while not stop.is_set():
            found = await house.ask()
            seen[found.status_code, found.headers.get("x-studiolo-deployment", "")] += 1

    loads = [asyncio.create_task(load()) for _ in range(4)]
    for number in range(100):
        part = number % 101
        await asyncio.to_thread(endpoints.put, house.workspace, "mock", traffic={"blue": 100 - part, "green": part})
        await asyncio.sleep(0.02)
    await asyncio.sleep(0.6)
    stop.set()
    await asyncio.gather(*loads)
    assert {status for status, _ in seen} == {200}
    assert {way for _, way in seen} == {"mock/blue", "mock/green"}


async def test_a_mirror_gets_copies_whose_rows_are_tagged_and_whose_answers_nobody_sees(house: House) -> None:
    async def other(wire: Wire) -> None:
        await wire.json({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 99}})

    async with scripted(other) as shadow:
        house.deploy("green", shadow.port)
        await house.changed(mirror={"green": 50})
        answers = [await house.ask(number=number) for number in range(40)]
        assert {each.headers["x-studiolo-deployment"] for each in answers} == {"mock/blue"}
        mirrored = await rows_of(house, 1, mirror=True)
        assert 5 <= len(shadow.wires) <= 35
        assert {(row["deployment"], row["completion_tokens"]) for row in mirrored} == {("mock/green", 99)}
        originals = {row["request_id"] for row in await rows_of(house, 40, mirror=False)}
        assert {row["mirror_of"] for row in mirrored} <= originals


async def test_a_mirror_that_hangs_is_given_few_copies_and_costs_the_others_nothing(house: House) -> None:
    async with scripted(hang) as shadow:
        house.deploy("green", shadow.port)
        await house.changed(mirror={"green": 50})
        for _ in range(10):
            answers = await asyncio.gather(*[house.ask() for _ in range(20)])
            assert {each.status_code for each in answers} == {200}
        assert len(shadow.wires) <= 8  # the rest waits, and what is too much was dropped
        assert (
            house.door.house.plane.backends.load(endpoints.get(house.workspace, "mock").deployments["green"]).active
            <= 8
        )
        assert house.door.house.mirror.dropped > 0


async def test_a_copy_that_fails_is_not_tried_again(house: House) -> None:
    async def fail(wire: Wire) -> None:
        await wire.json({"error": {"message": "no"}}, status=503)

    async with scripted(fail) as shadow:
        house.deploy("green", shadow.port)
        await house.changed(mirror={"green": 50})
        for _ in range(10):
            assert (await house.ask()).status_code == 200
        mirrored = await rows_of(house, 1, mirror=True)
        await asyncio.sleep(0.3)
        assert len(shadow.wires) <= len(await rows_of(house, len(mirrored), mirror=True))
        assert {row["status"] for row in mirrored} == {503}


@pytest.mark.parametrize("stream", [True, False])
async def test_a_request_with_its_key_again_is_answered_as_before(house: House, stream: bool) -> None:
    headers = {"idempotency-key": "k-1"}
    first, second = [await house.ask(stream=stream, headers=headers) for _ in range(2)]
    assert first.content == second.content
    assert len(house.upstream.wires) == (2 if stream else 1)  # only what came whole is told again
    assert ("idempotent-replayed" in second.headers) is not stream


async def test_a_key_with_another_body_is_a_422_and_one_under_way_a_409(house: House) -> None:
    held = asyncio.Event()

    async def wait(wire: Wire) -> None:
        await held.wait()
        await answer(wire)

    house.upstream.script = wait
    headers = {"idempotency-key": "k-1"}
    first = asyncio.create_task(house.ask(headers=headers))
    while not house.upstream.wires:
        await asyncio.sleep(0.01)
    second = await house.ask(headers=headers)
    assert (second.status_code, second.json()["error"]["code"]) == (409, "idempotency_conflict")
    third = await house.ask(seed=7, headers=headers)
    assert (third.status_code, third.json()["error"]["code"]) == (422, "idempotency_key_reused")
    held.set()
    assert (await first).status_code == 200


async def test_a_key_belongs_to_its_token(house: House) -> None:
    await house.ask(headers={"idempotency-key": "k-1"})
    other = {"authorization": f"Bearer {house.workspace.tokens.create('other')}"}
    answered = await house.ask(headers={"idempotency-key": "k-1", **other})
    assert "idempotent-replayed" not in answered.headers
    assert len(house.upstream.wires) == 2


async def test_a_failure_is_not_kept_for_its_key(house: House) -> None:
    async def fail(wire: Wire) -> None:
        await wire.json({"error": {"message": "no"}}, status=500)

    house.upstream.script = fail
    assert (await house.ask(headers={"idempotency-key": "k-1"})).status_code == 500
    house.upstream.script = answer
    assert (await house.ask(headers={"idempotency-key": "k-1"})).status_code == 200


async def test_no_key_of_a_client_is_in_a_row_or_a_log(house: House) -> None:
    await house.ask(headers={"idempotency-key": "k-very-secret"})
    text = json.dumps(await rows_of(house, 1))
    assert "k-very-secret" not in text
    assert house.token not in text

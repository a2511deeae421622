"""Batches of requests, by the official client against a scripted engine: answered, refused, cancelled, killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import openai
import psutil
import pytest
from openai import AsyncOpenAI

from jobs import records
from serving.api import batches_store
from tests.serving.chats import chat, telling
from workspace.processes import own_identity

if TYPE_CHECKING:
    from openai.types import Batch

    from tests.serving.conftest import House, Wire

LONG = 60.0
CHAT: Final = "/v1/chat/completions"


def request(name: str, url: str = CHAT, **body: Any) -> dict[str, Any]:
    asked = {"model": "mock", "messages": [{"role": "user", "content": name}], **body}
    return {"custom_id": name, "method": "POST", "url": url, "body": asked}


async def begun(house: House, lines: Sequence[Any], url: Any = CHAT, **more: Any) -> Batch:
    text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    file = await house.client.files.create(file=("lines.jsonl", text.encode()), purpose="batch")
    return await house.client.batches.create(input_file_id=file.id, endpoint=url, completion_window="24h", **more)


async def ended(house: House, batch: Batch) -> Batch:
    deadline = time.monotonic() + LONG
    while batch.status not in batches_store.ENDED:
        assert time.monotonic() < deadline, batch
        await asyncio.sleep(0.05)
        batch = await house.client.batches.retrieve(batch.id)
    return batch


async def content(house: House, file_id: str | None) -> list[dict[str, Any]]:
    assert file_id
    return [json.loads(line) for line in (await house.client.files.content(file_id)).text.splitlines()]


async def test_a_batch_is_answered_in_the_order_of_its_lines(house: House) -> None:
    house.upstream.script = telling(chat("Hi"))
    batch = await begun(house, [request(f"q{n}") for n in range(20)], metadata={"team": "blue"})
    assert (batch.status, batch.object, batch.endpoint) == ("validating", "batch", CHAT)
    done = await ended(house, batch)
    assert (done.status, done.error_file_id, done.errors) == ("completed", None, None)
    assert done.request_counts
    assert done.request_counts.to_dict() == {"total": 20, "completed": 20, "failed": 0}
    assert done.metadata == {"team": "blue"}
    assert done.completed_at
    assert done.in_progress_at
    assert batch.created_at <= done.in_progress_at <= done.completed_at
    lines = await content(house, done.output_file_id)
    assert [line["custom_id"] for line in lines] == [f"q{n}" for n in range(20)]
    first = lines[0]
    assert (first["error"], first["response"]["status_code"]) == (None, 200)
    assert first["response"]["body"]["choices"][0]["message"]["content"] == "Hi"
    assert first["response"]["request_id"]
    file = await house.client.files.retrieve(str(done.output_file_id))
    assert (file.purpose, file.filename) == ("batch_output", f"{batch.id}_output.jsonl")
    assert [each.id async for each in house.client.batches.list(limit=1)] == [batch.id]


async def test_what_an_engine_refuses_is_in_the_error_file(house: House) -> None:
    async def script(wire: Wire) -> None:
        if wire.request["messages"][0]["content"] == "bad":
            await wire.json({"error": {"message": "too long", "code": "context_length_exceeded"}}, status=400)
        else:
            await wire.json(chat("Hi"))

    house.upstream.script = script
    done = await ended(house, await begun(house, [request("good"), request("bad"), request("lost", model="nobody")]))
    assert done.status == "completed"
    assert done.request_counts
    assert done.request_counts.to_dict() == {"total": 3, "completed": 1, "failed": 2}
    assert [line["custom_id"] for line in await content(house, done.output_file_id)] == ["good"]
    bad, lost = await content(house, done.error_file_id)
    assert (bad["response"]["status_code"], bad["custom_id"]) == (400, "bad")
    assert bad["response"]["body"]["error"]["code"] == "context_length_exceeded"
    assert lost["response"]["status_code"] == 404


@pytest.mark.parametrize(
    ("lines", "code", "line"),
    [
        ([request("a"), "{no json"], "invalid_json_line", 2),
        ([request("a"), request("a")], "duplicate_custom_id", 2),
        ([request("a", url="/v1/embeddings")], "mismatched_endpoint", 1),
        ([request("a") | {"method": "GET"}], "invalid_method", 1),
        ([request("a", stream=True)], "invalid_value", 1),
        ([request("a", model=None)], "missing_required_parameter", 1),
        ([request("a") | {"custom_id": 7}], "missing_required_parameter", 1),
        ([""], "empty_file", None),
    ],
)
async def test_a_file_that_cannot_be_right_fails_before_anything_is_asked(
    house: House, lines: list[Any], code: str, line: int | None
) -> None:
    done = await ended(house, await begun(house, lines))
    assert (done.status, done.output_file_id) == ("failed", None)
    assert done.errors
    assert done.errors.data
    assert (done.errors.data[0].code, done.errors.data[0].line) == (code, line)
    assert done.failed_at
    assert not house.upstream.wires


async def test_what_cannot_be_asked_is_refused_by_its_field(house: House) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await begun(house, [request("a")], url="/v1/images/generations")
    assert caught.value.param == "endpoint"
    with pytest.raises(openai.NotFoundError) as missing:
        await house.client.batches.create(input_file_id="file-x", endpoint=CHAT, completion_window="24h")
    assert missing.value.param == "input_file_id"
    with pytest.raises(openai.BadRequestError) as caught:
        await begun(house, [request("a")], metadata={str(n): "x" for n in range(17)})
    assert caught.value.param == "metadata"


async def test_other_tokens_neither_see_nor_end_a_batch(house: House) -> None:
    batch = await begun(house, [request("a")])
    token = house.workspace.tokens.create("other", "viewer")
    async with AsyncOpenAI(base_url=f"{house.base_url}/v1", api_key=token, max_retries=0) as other:
        assert [each async for each in other.batches.list()] == []
        for ask in (other.batches.retrieve, other.batches.cancel):
            with pytest.raises(openai.NotFoundError):
                await ask(batch.id)
        with pytest.raises(openai.NotFoundError):
            await other.batches.create(input_file_id=batch.input_file_id, endpoint=CHAT, completion_window="24h")
    assert (await ended(house, batch)).status == "completed"


async def test_a_batch_asks_with_the_rights_of_its_token(house: House) -> None:
    token = house.workspace.tokens.create("narrow", "viewer", endpoints=["other"])
    async with AsyncOpenAI(base_url=f"{house.base_url}/v1", api_key=token, max_retries=0) as client:
        file = await client.files.create(file=("a.jsonl", json.dumps(request("a")).encode()), purpose="batch")
        batch = await client.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h")
        deadline = time.monotonic() + LONG
        while batch.status != "completed" and time.monotonic() < deadline:
            batch = await client.batches.retrieve(batch.id)
        [line] = [json.loads(each) for each in (await client.files.content(str(batch.error_file_id))).text.splitlines()]
    assert line["response"]["body"]["error"]["code"] == "model_not_allowed"
    assert not house.upstream.wires
    rows = [row for row in house.rows() if row["path"] == CHAT]
    assert {row["token"] for row in rows} == {house.workspace.tokens.check(token).id}


async def test_only_an_admin_may_ask_for_another_token(house: House) -> None:
    rich, poor = (house.workspace.tokens.create(name, "viewer") for name in ("rich", "poor"))
    headers = {"authorization": f"Bearer {poor}", "x-studiolo-for": house.workspace.tokens.check(rich).id}
    assert (await house.ask(headers=headers)).status_code == 401
    assert (await house.ask(headers={"x-studiolo-for": "nobody"})).status_code == 401
    admin = {"x-studiolo-for": house.workspace.tokens.check(rich).id}
    assert (await house.ask(headers=admin)).status_code == 200


async def test_a_cancelled_batch_keeps_what_was_answered(house: House) -> None:
    async def script(wire: Wire) -> None:
        if int(wire.request["messages"][0]["content"][1:]) >= 5:
            await wire.closed()
        else:
            await wire.json(chat("Hi"))

    house.upstream.script = script
    batch = await begun(house, [request(f"q{n}") for n in range(40)])
    while batch.request_counts is None or batch.request_counts.completed < 5:
        await asyncio.sleep(0.05)
        batch = await house.client.batches.retrieve(batch.id)
    assert (await house.client.batches.cancel(batch.id)).status in ("cancelling", "cancelled")
    done = await ended(house, batch)
    assert done.status == "cancelled"
    assert done.cancelled_at
    assert {line["custom_id"] for line in await content(house, done.output_file_id)} == {f"q{n}" for n in range(5)}
    with pytest.raises(openai.ConflictError):
        await house.client.batches.cancel(batch.id)


async def test_a_killed_batch_goes_on_and_asks_nothing_twice_that_was_answered(house: House) -> None:
    held = asyncio.Event()
    answered: Counter[str] = Counter()

    async def script(wire: Wire) -> None:
        name = wire.request["messages"][0]["content"]
        if int(name[1:]) >= 30 and not held.is_set():
            await wire.closed()
            return
        await wire.json(chat("Hi"))
        answered[name] += 1

    house.upstream.script = script
    batch = await begun(house, [request(f"q{n}") for n in range(60)])
    for round_ in range(2):
        before = len(house.upstream.wires)
        while not any(late(wire) for wire in house.upstream.wires[before:]) or len(answered) < 20:
            await asyncio.sleep(0.02)
        kill(house, f"{batch.id}-{round_ + 1}", shim=round_ == 1)
        while records.get(house.workspace, f"{batch.id}-{round_ + 1}").status == "Running":
            await asyncio.sleep(0.05)
        if round_ == 1:
            held.set()
        batch = await house.client.batches.retrieve(batch.id)
        assert batch.status in ("validating", "in_progress")
    done = await ended(house, batch)
    assert (done.status, len(await content(house, done.output_file_id))) == ("completed", 60)
    assert set(answered) == {f"q{n}" for n in range(60)}
    # Only what was on its way to the process when it was killed may have been answered to nobody.
    assert sum(count - 1 for count in answered.values()) <= 16


async def test_a_server_with_too_much_to_do_is_asked_more_slowly_until_all_is_answered(house: House) -> None:
    now, most, refused = 0, 0, 0

    async def script(wire: Wire) -> None:
        nonlocal now, most, refused
        if now >= 3:
            refused += 1
            await wire.json({"error": {"message": "slow down", "code": "rate_limit_exceeded"}}, status=429)
            return
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.02)
        now -= 1
        await wire.json(chat("Hi"))

    house.upstream.script = script
    done = await ended(house, await begun(house, [request(f"q{n}") for n in range(60)]))
    assert done.request_counts
    assert done.request_counts.to_dict() == {"total": 60, "completed": 60, "failed": 0}
    assert refused < 120


async def test_a_batch_whose_window_ends_keeps_its_answers_and_says_which_have_none(house: House) -> None:
    async def script(wire: Wire) -> None:
        if wire.request["messages"][0]["content"] == "fine":
            await wire.json(chat("Hi"))
        else:
            await wire.json({"error": {"message": "not now", "code": "rate_limit_exceeded"}}, status=429)

    house.upstream.script = script
    text = "".join(json.dumps(request(name)) + "\n" for name in ("fine", "never"))
    file = await house.client.files.create(file=("a.jsonl", text.encode()), purpose="batch")
    token = house.workspace.tokens.check(house.token).id
    made = await asyncio.to_thread(
        batches_store.create, house.workspace, token, file_id=file.id, endpoint=CHAT, metadata={},
        base_url=house.base_url, window=5.0,
    )  # fmt: skip
    done = await ended(house, await house.client.batches.retrieve(made["id"]))
    assert done.status == "expired"
    assert done.expired_at
    assert [line["custom_id"] for line in await content(house, done.output_file_id)] == ["fine"]
    [line] = await content(house, done.error_file_id)
    assert (line["custom_id"], line["response"], line["error"]["code"]) == ("never", None, "batch_expired")


async def test_a_batch_finds_a_gateway_that_comes_back_on_another_port(house: House) -> None:
    house.upstream.script = telling(chat("Hi"))
    file = await house.client.files.create(file=("a.jsonl", json.dumps(request("a")).encode()), purpose="batch")
    token = house.workspace.tokens.check(house.token).id
    made = await asyncio.to_thread(
        batches_store.create, house.workspace, token, file_id=file.id, endpoint=CHAT, metadata={},
        base_url="http://127.0.0.1:9",
    )  # fmt: skip
    while (batch := await house.client.batches.retrieve(made["id"])).status != "in_progress":
        await asyncio.sleep(0.05)
    own, port = own_identity(), int(house.base_url.rpartition(":")[2])
    record = json.dumps({"pid": own.pid, "started_at": own.started_at, "port": port})
    (house.workspace.home / "services").mkdir(exist_ok=True)
    (house.workspace.home / "services" / "gateway.json").write_text(record)
    assert (await ended(house, batch)).status == "completed"


async def test_responses_and_embeddings_go_as_well(house: House) -> None:
    house.upstream.script = telling(chat("Hi"))
    lines = [request("r", url="/v1/responses") | {"body": {"model": "mock", "input": "Hello"}}]
    done = await ended(house, await begun(house, lines, url="/v1/responses"))
    [line] = await content(house, done.output_file_id)
    assert line["response"]["body"]["object"] == "response"


async def test_the_gateway_takes_up_what_nobody_looks_at(house: House) -> None:
    house.upstream.script = telling(chat("Hi"))
    batch = await begun(house, [request("a")])
    while records.get(house.workspace, f"{batch.id}-1").status not in ("Completed", "Failed"):
        await asyncio.sleep(0.05)
    assert await asyncio.to_thread(batches_store.tend, house.workspace) == 1
    assert await asyncio.to_thread(batches_store.tend, house.workspace) == 0
    assert (await house.client.batches.retrieve(batch.id)).status == "completed"


def late(wire: Wire) -> bool:
    return int(wire.request["messages"][0]["content"][1:]) >= 30


def kill(house: House, job: str, *, shim: bool) -> None:
    """Kill the process that asks, or the one that owns it."""
    found = records.get(house.workspace, job).shim
    assert found
    if shim:
        os.kill(found.pid, signal.SIGKILL)
        return
    for process in psutil.Process(found.pid).children(recursive=True):
        process.send_signal(signal.SIGKILL)

"""What happens between a client and an engine, when all goes well and when it does not."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import openai
import pytest
from openai.types.chat import ChatCompletionUserMessageParam

from serving import endpoints

if TYPE_CHECKING:
    from tests.serving.conftest import House, Wire

HELLO: list[ChatCompletionUserMessageParam] = [{"role": "user", "content": "Hello"}]
BODY = {"model": "mock", "messages": HELLO}


async def text_of(house: House, **more: Any) -> str:
    stream = await house.client.chat.completions.create(model="mock", messages=HELLO, stream=True, **more)
    return "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])


async def row_of(house: House) -> dict[str, Any]:
    """Wait for the row: it is kept after the last byte, which a client may see before."""
    while not (rows := house.rows()):
        await asyncio.sleep(0.01)
    return rows[-1]


async def test_an_answer_comes_back_as_the_engine_gave_it(house: House) -> None:
    response = await house.http.post("/v1/chat/completions", json=BODY)
    assert response.json()["choices"][0]["message"]["content"] == "Hello"
    assert response.headers["x-studiolo-deployment"] == "mock/blue"
    assert response.headers["x-studiolo-model"] == "m"


async def test_the_engine_is_asked_by_the_name_it_knows_and_gets_all_other_fields(house: House) -> None:
    await house.http.post("/v1/chat/completions", json={**BODY, "seed": 7, "unheard_of": {"a": 1}})
    assert house.upstream.wires[0].request == {**BODY, "model": "m", "seed": 7, "unheard_of": {"a": 1}}


async def test_a_stream_without_counts_asked_for_shows_none_but_the_row_has_them(house: House) -> None:
    response = await house.http.post("/v1/chat/completions", json={**BODY, "stream": True})
    assert "usage" not in response.text
    assert response.text.endswith("data: [DONE]\n\n")
    row = await row_of(house)
    assert (row["prompt_tokens"], row["completion_tokens"], row["status"]) == (7, 2, 200)


async def test_a_stream_with_counts_asked_for_ends_with_them(house: House) -> None:
    options: Any = {"include_usage": True}
    stream = await house.client.chat.completions.create(
        model="mock", messages=HELLO, stream=True, stream_options=options
    )
    chunks = [chunk async for chunk in stream]
    assert chunks[-1].choices == []
    assert chunks[-1].usage
    assert chunks[-1].usage.completion_tokens == 2


async def test_a_row_says_who_asked_what_and_how_long_it_took_but_not_the_words(house: House) -> None:
    response = await house.http.post("/v1/chat/completions", json=BODY)
    row = await row_of(house)
    assert row["request_id"] == response.headers["x-request-id"]
    assert row["deployment"] == "mock/blue"
    assert row["duration_ms"] >= row["first_byte_ms"] > 0
    assert "Hello" not in str(row)


async def test_an_engine_that_dies_in_mid_stream_is_told_as_an_error_event(house: House) -> None:
    async def die(wire: Wire) -> None:
        await wire.stream("Hel")

    house.upstream.script = die
    stream = await house.client.chat.completions.create(model="mock", messages=HELLO, stream=True)
    assert (await anext(stream)).choices[0].delta.content == "Hel"
    with pytest.raises(openai.APIError, match="hung up") as caught:
        await anext(stream)
    assert caught.value.code == "engine_failed"


async def test_half_an_event_of_a_dead_engine_is_not_passed_on(house: House) -> None:
    async def die(wire: Wire) -> None:
        await wire.stream("Hel")
        await wire.chunk(b'data: {"choices": [{"del')

    house.upstream.script = die
    response = await house.http.post("/v1/chat/completions", json={**BODY, "stream": True})
    assert response.text.count("data: ") == 2
    assert "event: error\ndata: {" in response.text


async def test_an_engine_that_dies_before_the_first_byte_is_a_502(house: House) -> None:
    async def die(wire: Wire) -> None:
        return

    house.upstream.script = die
    for stream in (False, True):
        response = await house.http.post("/v1/chat/completions", json={**BODY, "stream": stream})
        assert (response.status_code, response.json()["error"]["code"]) == (502, "engine_failed")


async def test_nobody_listening_is_a_503_that_says_when_to_come_back(house: House) -> None:
    properties = {"base_url": "http://127.0.0.1:9/v1"}
    endpoints.put_deployment(house.workspace, "mock", "blue", engine="openai", model="m", properties=properties)
    response = await house.http.post("/v1/chat/completions", json=BODY)
    assert response.status_code == 503
    assert response.headers["retry-after"]


async def test_an_error_of_the_engine_keeps_its_status_and_names_its_field(house: House) -> None:
    async def refuse(wire: Wire) -> None:
        error = {"message": "no", "type": "invalid_request_error", "param": "top_p", "code": None}
        await wire.json({"error": error}, status=400)

    house.upstream.script = refuse
    with pytest.raises(openai.BadRequestError) as caught:
        await text_of(house, top_p=7)
    assert caught.value.param == "top_p"


async def test_no_first_token_in_time_is_a_504_and_the_engine_is_let_go(house: House) -> None:
    gone = asyncio.Event()

    async def hang(wire: Wire) -> None:
        await wire.closed()
        gone.set()

    house.upstream.script = hang
    response = await house.http.post("/v1/chat/completions", json={**BODY, "stream": True})
    assert response.status_code == 504
    await asyncio.wait_for(gone.wait(), 1)


async def test_a_stall_in_mid_stream_ends_it_with_an_error_event(house: House) -> None:
    async def stall(wire: Wire) -> None:
        await wire.stream("Hel")
        await wire.closed()

    house.upstream.script = stall
    with pytest.raises(openai.APIError, match="sent nothing for"):
        await text_of(house)


@pytest.mark.parametrize("tokens", [0, 3])
@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_ends_the_generation_within_a_second(
    house: House, tokens: int, stream: bool
) -> None:
    reached, gone = asyncio.Event(), asyncio.Event()

    async def talk(wire: Wire) -> None:
        if stream and tokens:
            await wire.stream(*"abc"[:tokens])
        reached.set()
        await wire.closed()
        gone.set()

    house.upstream.script = talk
    request = asyncio.create_task(house.http.post("/v1/chat/completions", json={**BODY, "stream": stream}))
    await reached.wait()
    left = time.monotonic()
    request.cancel()
    await asyncio.wait_for(gone.wait(), 1)
    assert time.monotonic() - left < 1
    assert (await row_of(house))["status"] == 499


async def test_a_stream_in_chunks_of_one_byte_is_the_same_text(house: House) -> None:
    async def drip(wire: Wire) -> None:
        await wire.stream()
        for byte in 'data: {"choices":[{"index":0,"delta":{"content":"Ünïcödé €"}}]}\n\ndata: [DONE]\n\n'.encode():
            await wire.chunk(bytes([byte]))
        await wire.send(b"0\r\n\r\n")

    house.upstream.script = drip
    assert await text_of(house) == "Ünïcödé €"


async def test_what_is_not_http_is_a_502(house: House) -> None:
    async def babble(wire: Wire) -> None:
        await wire.send(b"\x00\x01\x02 hello\r\n\r\n")

    house.upstream.script = babble
    assert (await house.http.post("/v1/chat/completions", json=BODY)).status_code == 502


async def test_a_client_that_does_not_read_makes_the_engine_wait(house: House) -> None:
    sent = 0

    async def flood(wire: Wire) -> None:
        nonlocal sent
        await wire.stream()
        for _ in range(2_000):
            await wire.event(delta_of(10_000))
            sent += 10_000

    def delta_of(size: int) -> dict[str, Any]:
        return {"choices": [{"index": 0, "delta": {"content": "x" * size}}]}

    house.upstream.script = flood
    async with house.http.stream("POST", "/v1/chat/completions", json={**BODY, "stream": True}):
        await asyncio.sleep(0.4)
        held = sent
        await asyncio.sleep(0.2)
        assert sent == held < 15_000_000  # the kernel's buffers hold a part of it, the gateway a quarter of a megabyte


async def test_the_model_may_name_the_deployment_itself(house: House) -> None:
    response = await house.http.post("/v1/chat/completions", json={**BODY, "model": "mock/blue"})
    assert response.headers["x-studiolo-deployment"] == "mock/blue"


async def test_a_changed_traffic_is_followed_within_a_second_or_so(house: House) -> None:
    properties = {"base_url": f"http://127.0.0.1:{house.upstream.port}/v1"}
    endpoints.put_deployment(house.workspace, "mock", "green", engine="openai", model="n", properties=properties)
    endpoints.put(house.workspace, "mock", traffic={"green": 100})
    await asyncio.sleep(1.05)
    response = await house.http.post("/v1/chat/completions", json=BODY)
    assert response.headers["x-studiolo-deployment"] == "mock/green"

"""Clients that leave, do not read, or speak too slowly, and engines that stall or babble."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.events import Events
from tests.serving.conftest import answer, delta

if TYPE_CHECKING:
    from tests.serving.conftest import House, Wire

TIMES = [pytest.param(10, id="10 times"), pytest.param(100, id="100 times", marks=pytest.mark.slow)]


def port_of(house: House) -> int:
    return int(house.base_url.rpartition(":")[2])


def chat(house: House, *, stream: bool) -> bytes:
    """Return a request as bytes."""
    body = json.dumps({"model": "mock", "messages": [], "stream": stream}).encode()
    return (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {house.token}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    ).encode() + body


@pytest.mark.parametrize("times", TIMES)
@pytest.mark.parametrize(("stream", "tokens"), [(True, 2), (True, 0), (False, 0)])
async def test_each_client_that_leaves_ends_its_generation_within_a_second(
    house: House, times: int, stream: bool, tokens: int
) -> None:
    reached: asyncio.Queue[None] = asyncio.Queue()
    ended: asyncio.Queue[float] = asyncio.Queue()

    async def talk(wire: Wire) -> None:
        if stream and tokens:
            await wire.stream(*"abc"[:tokens])
        reached.put_nowait(None)
        await wire.closed()
        ended.put_nowait(time.monotonic())

    house.upstream.script = talk
    for _ in range(times):
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(house))
        writer.write(chat(house, stream=stream))
        await asyncio.wait_for(reached.get(), 5)
        if tokens:
            await asyncio.wait_for(reader.readuntil(b"data: "), 5)
        left = time.monotonic()
        writer.close()
        assert await asyncio.wait_for(ended.get(), 5) - left < 1
    while len(rows := house.rows()) < times:
        await asyncio.sleep(0.02)
    assert {(row["status"], row["error"]) for row in rows} == {(499, "client_left")}


async def test_who_leaves_while_a_failure_is_waited_out_ends_the_waiting(house: House) -> None:
    async def refuse(wire: Wire) -> None:
        head = b"HTTP/1.1 429 X\r\nretry-after: 5\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
        await wire.send(head)

    house.upstream.script = refuse
    _, writer = await asyncio.open_connection("127.0.0.1", port_of(house))
    writer.write(chat(house, stream=False))
    while not house.upstream.wires:
        await asyncio.sleep(0.01)
    writer.close()
    await asyncio.sleep(0.5)
    assert house.rows()[0]["status"] == 499
    assert len(house.upstream.wires) == 1


async def test_clients_that_do_not_read_are_let_go_and_the_others_are_served(house: House) -> None:
    sent: dict[int, int] = {}
    event = f"data: {json.dumps(delta('x' * 10_000))}\n\n".encode()

    async def flood_or_answer(wire: Wire) -> None:
        if not wire.request.get("stream"):
            await answer(wire)
            return
        await wire.stream()
        for _ in range(5_000):
            await wire.chunk(event)
            await asyncio.sleep(0)  # this loop is everybody's
            sent[id(wire)] = sent.get(id(wire), 0) + len(event)

    house.upstream.script = flood_or_answer
    deaf = []
    for _ in range(20):
        connection = socket.create_connection(("127.0.0.1", port_of(house)))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        connection.sendall(chat(house, stream=True))
        deaf.append(connection)
    answers = [await house.ask() for _ in range(30)]
    assert {each.status_code for each in answers} == {200}, answers[0].text
    while len(house.rows()) < 50:  # each was let go, and has its row
        await asyncio.sleep(0.05)
    assert max(sent.values()) < 25_000_000  # what the kernel holds, and a third of a megabyte of ours
    for connection in deaf:
        connection.close()


async def test_a_hundred_slow_senders_keep_nobody_waiting_and_are_let_go(house: House) -> None:
    begun = [b"POST /v1/chat/completions HT", chat(house, stream=False)[:-4]]
    slow = [await asyncio.open_connection("127.0.0.1", port_of(house)) for _ in range(100)]
    for number, (_, writer) in enumerate(slow):
        writer.write(begun[number % 2])
    answers = [await house.ask() for _ in range(20)]
    assert {each.status_code for each in answers} == {200}
    said = await asyncio.wait_for(asyncio.gather(*[reader.read() for reader, _ in slow]), 10)
    assert {each.split(b" ")[1] for each in said} == {b"408"}
    for _, writer in slow:
        writer.close()


async def test_a_body_of_11_megabytes_and_a_head_of_64_kilobytes_are_refused(house: House) -> None:
    large = await house.http.post(
        "/v1/chat/completions", content=b" " * 11_000_000, headers={"content-type": "application/json"}
    )
    assert (large.status_code, large.json()["error"]["code"]) == (413, "body_too_large")
    long = await house.http.get("/v1/models", headers={"x-long": "x" * 64_000})
    assert (long.status_code, long.json()["error"]["code"]) == (431, "headers_too_large")


async def test_a_token_that_comes_too_late_is_a_504_and_lets_the_engine_go(house: House) -> None:
    gone = asyncio.Event()

    async def slow(wire: Wire) -> None:
        await wire.stream()  # the status comes at once, and then nothing
        await wire.closed()
        gone.set()

    house.upstream.script = slow
    found = await house.ask(stream=True)
    assert (found.status_code, found.json()["error"]["code"]) == (504, "timeout")
    await asyncio.wait_for(gone.wait(), 1)


async def test_a_stall_in_mid_stream_lets_the_engine_go_within_a_second(house: House) -> None:
    gone = asyncio.Event()

    async def stall(wire: Wire) -> None:
        await wire.stream("Hel")
        await wire.closed()
        gone.set()

    house.upstream.script = stall
    found = await house.ask(stream=True)
    assert '"code": "timeout"' in found.text
    await asyncio.wait_for(gone.wait(), 1)


BABBLE = {
    "no chunk length": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 5\r\n\r\nabcde",
    "no status": b"HTTP/1.1 OK\r\n\r\n",
    "an empty stream": b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 0\r\n\r\n",
}


@pytest.mark.parametrize("name", BABBLE)
async def test_an_answer_that_breaks_the_rules_is_a_502(house: House, name: str) -> None:
    async def babble(wire: Wire) -> None:
        await wire.send(BABBLE[name])

    house.upstream.script = babble
    assert (await house.ask(stream=True)).status_code == 502


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400), st.lists(st.integers(1, 17), min_size=1))
def test_whatever_an_engine_sends_only_whole_events_leave_and_in_its_order(noise: bytes, sizes: list[int]) -> None:
    raw, events, out, start = b"data: {}\n\n" + noise + b"\n\ndata: [DONE]\n\n", Events(counts_wanted=True), b"", 0
    while start < len(raw):
        size = sizes[start % len(sizes)]
        out += events.feed(raw[start : start + size])
        assert out == b"" or out.endswith((b"\n\n", b"\r\n\r\n", b"\n\r\n"))
        start += size
    assert out == raw


async def test_five_hundred_streams_at_once_are_all_whole(patient_house: House) -> None:
    house = patient_house

    async def talk(wire: Wire) -> None:
        await wire.stream("Hel")
        await asyncio.sleep(0.3)
        await wire.event(delta("lo"))
        await wire.event("[DONE]")
        await wire.send(b"0\r\n\r\n")

    house.upstream.script = talk

    async def one() -> Any:
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(house))
        writer.write(chat(house, stream=True))
        text = await reader.readuntil(b"0\r\n\r\n")
        writer.close()
        return text.count(b'"Hel"'), text.count(b'"lo"'), text.count(b"[DONE]"), text.count(b"error")

    assert set(await asyncio.gather(*[one() for _ in range(500)])) == {(1, 1, 1, 0)}

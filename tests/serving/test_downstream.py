"""The gateway's own HTTP: what a server owes its clients, and what it does not put up with."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.downstream import Bounds
from tests.serving.conftest import listening

QUICK = Bounds(head_seconds=0.5, body_seconds=0.5, reading=0.5, idle=0.5, linger=0.5)


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answer with what was asked: method, path, query, and the body."""
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message["body"]
        more = message["more_body"]
    said = f"{scope['method']} {scope['path']} {scope['query_string'].decode()}|".encode() + body
    length = (b"content-length", b"%d" % len(said))
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    await send({"type": "http.response.body", "body": said})


async def flood(scope: Any, receive: Any, send: Any) -> None:
    """Answer without an end."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    while True:
        await send({"type": "http.response.body", "body": b"x" * 10_000, "more_body": True})
        await asyncio.sleep(0)


async def deaf(scope: Any, receive: Any, send: Any) -> None:
    """Answer before the body has come."""
    await send({"type": "http.response.start", "status": 413, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


async def broken(scope: Any, receive: Any, send: Any) -> None:
    """Fail in the middle of an answer."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9")]})
    await send({"type": "http.response.body", "body": b"1", "more_body": True})
    raise RuntimeError("on purpose")


@asynccontextmanager
async def wire(app: Any, bounds: Bounds | None = None) -> AsyncIterator[tuple[asyncio.StreamReader, Any]]:
    """Connect to a server of the application."""
    async with listening(app, bounds) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        yield reader, writer
        writer.close()


async def answer_of(reader: asyncio.StreamReader) -> tuple[int, bytes, bytes]:
    """Read one answer: status, head, body."""
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
    length = next((int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"content-length:")), 0)
    return int(head.split()[1]), head, await reader.readexactly(length)


async def test_requests_come_one_after_the_other_over_one_connection() -> None:
    async with wire(echo) as (reader, writer):
        for number in range(3):
            writer.write(b"GET /a%%20b?n=%d HTTP/1.1\r\nhost: x\r\n\r\n" % number)
            status, head, body = await answer_of(reader)
            assert (status, body) == (200, b"GET /a b n=%d|" % number)
            assert b"\r\ndate: " in head


async def test_requests_that_are_sent_together_are_answered_in_their_order() -> None:
    async with wire(echo) as (reader, writer):
        writer.write(b"".join(b"POST /%d HTTP/1.1\r\ncontent-length: 2\r\n\r\nab" % number for number in range(20)))
        assert [(await answer_of(reader))[2] for _ in range(20)] == [b"POST /%d |ab" % number for number in range(20)]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1), st.binary(min_size=1, max_size=200), st.booleans())
def test_however_a_request_is_cut_it_is_the_same(sizes: list[int], body: bytes, chunked: bool) -> None:
    framed = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if chunked else body
    length = b"transfer-encoding: chunked" if chunked else b"content-length: %d" % len(body)
    raw = b"POST /p HTTP/1.1\r\nhost: x\r\n%b\r\n\r\n%b" % (length, framed)

    async def go() -> None:
        async with wire(echo) as (reader, writer):
            start = number = 0
            while start < len(raw):
                size = sizes[number % len(sizes)]
                writer.write(raw[start : start + size])
                await writer.drain()
                if number < 40:
                    await asyncio.sleep(0)
                start, number = start + size, number + 1
            assert (await answer_of(reader))[2] == b"POST /p |" + body

    asyncio.run(go())


async def test_who_waits_for_a_word_before_the_body_gets_it() -> None:
    async with wire(echo) as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n")
        assert await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5) == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"ab")
        assert (await answer_of(reader))[2] == b"POST / |ab"


@pytest.mark.parametrize("version", [b"HTTP/1.0\r\n", b"HTTP/1.1\r\nconnection: close\r\n"])
async def test_who_wants_one_answer_only_gets_it_and_the_end(version: bytes) -> None:
    async with wire(echo) as (reader, writer):
        writer.write(b"GET / " + version + b"\r\n")
        assert (await answer_of(reader))[0] == 200
        assert await asyncio.wait_for(reader.read(), 5) == b""


async def test_what_is_no_http_is_a_400() -> None:
    async with wire(echo) as (reader, writer):
        writer.write(b"\x16\x03\x01 hello\r\n\r\n")
        assert (await answer_of(reader))[0] == 400
        assert await asyncio.wait_for(reader.read(), 5) == b""


@pytest.mark.parametrize("lines", [1, 700])
async def test_a_head_of_64_kilobytes_is_a_431_that_its_sender_hears(lines: int) -> None:
    async with wire(echo) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\n")
        for _ in range(lines):
            writer.write(b"x: " + b"y" * (64_000 // lines) + b"\r\n")
        writer.write(b"\r\n")
        assert (await answer_of(reader))[0] == 431
        assert await asyncio.wait_for(reader.read(), 5) == b""


async def test_a_head_without_an_end_is_a_431_too() -> None:
    async with wire(echo) as (reader, writer):
        for _ in range(40):
            writer.write(b"x" * 1_000 if _ else b"GET /")
            await asyncio.sleep(0)
        assert (await answer_of(reader))[0] == 431


async def test_an_answer_before_the_end_of_the_body_is_heard_by_its_sender() -> None:
    async with wire(deaf) as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\ncontent-length: 11000000\r\n\r\n" + b"x" * 11_000_000)
        assert (await answer_of(reader))[0] == 413
        assert await asyncio.wait_for(reader.read(), 5) == b""


@pytest.mark.parametrize("begun", [b"", b"GET / HT", b"POST / HTTP/1.1\r\ncontent-length: 9\r\n\r\nabc"])
async def test_who_speaks_too_slowly_is_let_go(begun: bytes) -> None:
    async with wire(echo, QUICK) as (reader, writer):
        writer.write(begun)
        said = await asyncio.wait_for(reader.read(), 3)
        assert said.startswith(b"HTTP/1.1 408 ") if begun else said == b""


async def test_who_does_not_read_is_let_go_and_little_waits_for_it() -> None:
    ended = asyncio.Event()
    sent = 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def counted(message: Any) -> None:
            nonlocal sent
            await send(message)
            sent += len(message.get("body", b""))

        try:
            await flood(scope, receive, counted)
        finally:
            ended.set()

    async def gone(scope: Any, receive: Any, send: Any) -> None:
        task = asyncio.current_task()
        assert task
        with next(iter(scope["extensions"].values())).watched(task.cancel):
            await app(scope, receive, send)

    async with listening(gone, QUICK) as url:
        await asyncio.sleep(0.05)  # it serves
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            client.connect(("127.0.0.1", int(url.rpartition(":")[2])))
            client.sendall(b"GET / HTTP/1.1\r\n\r\n")
            await asyncio.wait_for(ended.wait(), 10)
    assert 0 < sent < 1_000_000  # in the kernel, where it would be megabytes, and with us


async def test_half_an_answer_is_never_taken_for_a_whole_one() -> None:
    async with wire(broken) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await answer_of(reader)


async def test_more_requests_than_can_be_borne_are_a_503() -> None:
    go = asyncio.Event()

    async def wait(scope: Any, receive: Any, send: Any) -> None:
        await go.wait()
        await echo(scope, receive, send)

    async with listening(wait, Bounds(requests=2)) as url:
        wires = [await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2])) for _ in range(3)]
        for _, writer in wires:
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            await asyncio.sleep(0.05)
        status, head, body = await answer_of(wires[2][0])
        assert (status, b"retry-after: 1" in head, b'"overloaded"' in body) == (503, True, True)
        go.set()
        assert [(await answer_of(reader))[0] for reader, _ in wires[:2]] == [200, 200]
        for _, writer in wires:
            writer.close()


async def test_an_idle_connection_is_closed_after_a_while() -> None:
    async with wire(echo, QUICK) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        await answer_of(reader)
        began = time.monotonic()
        assert await asyncio.wait_for(reader.read(), 3) == b""
        assert time.monotonic() - began > 0.4

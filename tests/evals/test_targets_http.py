from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from evals.targets.http import Broken, client
from workspace.errors import Invalid

Speak = Callable[[bytes, int], bytes | None]
WHOLE = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@asynccontextmanager
async def speaking(speak: Speak) -> AsyncIterator[tuple[str, list[int]]]:
    """A server that says bytes: `speak(request, connection)`; None closes the connection. It tells who asked."""
    asked: list[int] = []
    connections = iter(range(100))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = next(connections)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                body = await reader.readexactly(length)
                asked.append(number)
                said = speak(head + body, number)
                if said is None:
                    break
                for part in said.split(b"|"):
                    writer.write(part)
                    await writer.drain()
                    await asyncio.sleep(0)
                if b"connection: close" in said:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", asked
    finally:
        server.close()


async def test_a_connection_is_used_again() -> None:
    async with speaking(lambda *_: WHOLE) as (url, asked):
        asking = client(url, {})
        assert [(await asking.ask("POST", "x", b"{}")).body for _ in range(3)] == [b"ok"] * 3
        await asking.close()
    assert asked == [0, 0, 0]


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 200 OK\r\ncontent-|length: 2\r\n\r\no|k",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\no\r\n|1\r\nk\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\no|k",
        b"HTTP/1.1 100 Continue\r\n\r\n|HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    ],
)
async def test_an_answer_is_read_however_it_comes(said: bytes) -> None:
    async with speaking(lambda *_: said) as (url, _):
        asking = client(url, {})
        for _ in range(2):
            reply = await asking.ask("POST", "x", b"{}")
            assert (reply.status, reply.body) == (200, b"ok")
        await asking.close()


async def test_a_connection_that_was_closed_while_idle_is_made_anew() -> None:
    closing = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    async with speaking(lambda *_: closing) as (url, asked):
        asking = client(url, {})
        for _ in range(3):
            assert (await asking.ask("POST", "x")).status == 200
        await asking.close()
    assert asked == [0, 1, 2]


SHORT = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\nconnection: close\r\n\r\no"


@pytest.mark.parametrize("said", [None, SHORT, b"SSH-2.0\r\n"])
async def test_what_is_no_whole_answer_is_none(said: bytes | None) -> None:
    async with speaking(lambda *_: said) as (url, _):
        asking = client(url, {})
        with pytest.raises(Broken):
            await asking.ask("POST", "x")
        await asking.close()


async def test_who_gives_up_waiting_leaves_no_answer_for_the_next() -> None:
    async with speaking(lambda request, _: WHOLE if b"/slow" not in request else b"") as (url, asked):
        asking = client(url, {})
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asking.ask("POST", "slow"), 0.5)
        assert (await asking.ask("POST", "quick")).body == b"ok"
        await asking.close()
    assert asked == [0, 1]


def test_what_is_no_address_is_refused() -> None:
    with pytest.raises(Invalid, match="no address of a server"):
        client("localhost:8000", {})
    with pytest.raises(Invalid, match="line breaks"):
        client("http://127.0.0.1/v1", {"authorization": "a\r\nb"})

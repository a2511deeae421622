"""For the gateway's tests: an OpenAI server that follows a script, and a gateway in front of it, all on one loop."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI

from serving import endpoints
from serving.call import Limits
from serving.downstream import Bounds, Server
from serving.gateway import Door, create_app
from tests.serving.azure_files import lay_out
from workspace.home import Workspace

BOUNDS = Bounds(head_seconds=2.0, body_seconds=2.0, reading=2.0)
Script = Callable[["Wire"], Awaitable[None]]


@dataclass
class Wire:
    """One connection to the scripted server, after its request was read."""

    request: dict[str, Any]
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    path: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def stream(self, *texts: str) -> None:
        """Begin a stream, chunked, and send a delta for each text."""
        await self.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        for text in texts:
            await self.event(delta(text))

    async def event(self, value: object) -> None:
        text = value if isinstance(value, str) else json.dumps(value)
        await self.chunk(f"data: {text}\n\n".encode())

    async def chunk(self, data: bytes) -> None:
        await self.send(b"%x\r\n%b\r\n" % (len(data), data))

    async def json(self, value: object, *, status: int = 200) -> None:
        body = json.dumps(value).encode()
        head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        await self.send(head.encode() + body)

    async def closed(self) -> None:
        """Return when the other side has hung up."""
        while await self.reader.read(65_536):
            pass


@dataclass
class Scripted:
    """The scripted server; set `script` before a request is sent."""

    script: Script
    port: int = 0
    wires: list[Wire] = field(default_factory=list)
    hung_up: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"content-length:"))
            path = head.split(b" ", 2)[1].decode()
            told = dict(line.decode("latin-1").split(": ", 1) for line in head.splitlines()[1:] if line)
            wire = Wire(json.loads(await reader.readexactly(length)), reader, writer, path, told)
            self.wires.append(wire)
            await self.script(wire)
        except ConnectionError:
            self.hung_up.set()
        finally:
            writer.close()


@dataclass
class House:
    """A gateway over the scripted server: the endpoint is "mock"."""

    workspace: Workspace
    upstream: Scripted
    base_url: str
    token: str
    client: AsyncOpenAI
    http: httpx.AsyncClient
    door: Door

    def deploy(self, name: str, port: int, **settings: Any) -> None:
        """Make or change a deployment of "mock"; its traffic stays as it is."""
        properties = {"base_url": f"http://127.0.0.1:{port}/v1", "settings": settings}
        endpoints.put_deployment(self.workspace, "mock", name, engine="openai", model="m", properties=properties)

    async def changed(self, **change: Any) -> None:
        """Change the endpoint and wait until the gateway must know."""
        endpoints.put(self.workspace, "mock", **change)
        await asyncio.sleep(1.1)

    async def ask(self, **more: Any) -> httpx.Response:
        """Ask "mock" for a chat."""
        headers = more.pop("headers", {})
        body = {"model": "mock", "messages": [{"role": "user", "content": "Hello"}], **more}
        return await self.http.post("/v1/chat/completions", json=body, headers=headers)

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows that were kept of requests."""
        lines = [line for path in (self.workspace.home / "spool").glob("*.jsonl") for line in path.open()]
        return [event["payload"] for event in map(json.loads, lines) if event["kind"] == "request"]


def delta(text: str) -> dict[str, Any]:
    """Return a piece of a streamed answer."""
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return {
        "id": "c",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [choice],
        "usage": None,
    }


async def answer(wire: Wire) -> None:
    """Answer as an OpenAI server does, in a stream where that is asked for."""
    used = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}
    if not wire.request.get("stream"):
        choice = {"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}
        await wire.json(
            {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": used}
        )
        return
    await wire.stream("Hel", "lo")
    if wire.request.get("stream_options", {}).get("include_usage"):
        await wire.event({**delta(""), "choices": [], "usage": used})
    await wire.event("[DONE]")
    await wire.send(b"0\r\n\r\n")


@asynccontextmanager
async def scripted(script: Script) -> AsyncIterator[Scripted]:
    """Run one more server that follows a script."""
    upstream = Scripted(script)
    server = await asyncio.start_server(upstream.serve, "127.0.0.1", 0, backlog=1_024)
    upstream.port = server.sockets[0].getsockname()[1]
    async with server:
        yield upstream


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    """Write a file beside what files refer to."""
    lay_out(tmp_path)

    def to(text: str) -> Path:
        path = tmp_path / "file.yml"
        path.write_text(text)
        return path

    return to


@pytest.fixture
async def house(workspace: Workspace) -> AsyncIterator[House]:
    """A gateway whose patience ends soon, before a scripted engine."""
    async with _house(workspace, Limits(first_token=1.0, between_tokens=0.5, total=10.0, loading=10.0)) as found:
        yield found


@pytest.fixture
async def patient_house(workspace: Workspace) -> AsyncIterator[House]:
    """The same with a gateway that waits: for crowds, whom a busy machine may keep waiting for seconds."""
    async with _house(workspace, Limits(first_token=60.0, between_tokens=60.0, total=120.0, loading=60.0)) as found:
        yield found


@asynccontextmanager
async def _house(workspace: Workspace, limits: Limits) -> AsyncIterator[House]:
    token = workspace.tokens.local()
    door = create_app(workspace, limits=limits)
    endpoints.put(workspace, "mock")
    async with scripted(answer) as upstream, listening(door, BOUNDS) as base_url:
        headers = {"authorization": f"Bearer {token}"}
        async with (
            httpx.AsyncClient(base_url=base_url, headers=headers, timeout=30) as http,
            AsyncOpenAI(base_url=f"{base_url}/v1", api_key=token, max_retries=0) as client,
        ):
            found = House(workspace, upstream, base_url, token, client, http, door)
            found.deploy("blue", upstream.port)
            endpoints.put(workspace, "mock", traffic={"blue": 100})
            yield found


@asynccontextmanager
async def listening(app: Any, bounds: Bounds | None = None) -> AsyncIterator[str]:
    """Serve the gateway on a free port of this loop."""
    with socket.create_server(("127.0.0.1", 0), backlog=1_024) as listener:
        server = Server(app, bounds)
        task = asyncio.create_task(server.serve(listener, patience=1))
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.drain()
        await task


async def until(what: Callable[[], Any], seconds: float = 60.0) -> Any:
    """Return what something comes to, once it is true."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, f"not within {seconds} s"
        await asyncio.sleep(0.05)
    return found

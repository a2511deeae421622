"""The gateway as a process under faults: it drains, it is killed and comes back, it does not grow."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psutil
import pytest

from serving import endpoints, service
from tests.serving.conftest import Scripted, answer, delta, scripted
from workspace.home import Workspace

if TYPE_CHECKING:
    from tests.serving.conftest import Wire


class Process:
    """A gateway in a process of its own."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.token = workspace.tokens.local()
        self.started: list[subprocess.Popen[bytes]] = []

    async def start(self, port: int = 0) -> service.Record:
        command = [sys.executable, "-m", "serving.gateway", "--home", str(self.workspace.home), "--port", str(port)]
        self.started.append(subprocess.Popen(command))
        while not (found := service.running(self.workspace.home)):
            assert self.started[-1].poll() is None
            await asyncio.sleep(0.02)
        return found

    async def ask(
        self, http: httpx.AsyncClient, record: service.Record, *, key: str | None = None, **more: Any
    ) -> httpx.Response:
        url = f"http://127.0.0.1:{record.port}/v1/chat/completions"
        headers = {"authorization": f"Bearer {self.token}"} | ({"idempotency-key": key} if key else {})
        return await http.post(url, json={"model": "mock", "messages": [], **more}, headers=headers)

    def rows(self) -> int:
        spool = self.workspace.home / "spool"
        return sum(line.count(b'"kind":"request"') for path in spool.glob("*.jsonl") for line in path.open("rb"))


@pytest.fixture
def process(workspace: Workspace) -> Iterator[Process]:
    found = Process(workspace)
    yield found
    for each in found.started:
        each.kill()
        each.wait()


@pytest.fixture
async def upstream(workspace: Workspace) -> AsyncIterator[Scripted]:
    async with scripted(answer) as found:
        endpoints.put(workspace, "mock")
        properties = {"base_url": f"http://127.0.0.1:{found.port}/v1"}
        endpoints.put_deployment(workspace, "mock", "blue", engine="openai", model="m", properties=properties)
        endpoints.put(workspace, "mock", traffic={"blue": 100})
        yield found


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    limits = httpx.Limits(max_connections=1_000, max_keepalive_connections=0)
    async with httpx.AsyncClient(timeout=60, limits=limits) as client:
        yield client


async def test_sigterm_lets_two_hundred_streams_end_and_refuses_what_comes(
    process: Process, upstream: Scripted, http: httpx.AsyncClient
) -> None:
    go = asyncio.Event()

    async def talk(wire: Wire) -> None:
        await wire.stream("Hel")
        await go.wait()
        await wire.event(delta("lo"))
        await wire.event("[DONE]")
        await wire.send(b"0\r\n\r\n")

    upstream.script = talk
    record = await process.start()
    streams = [asyncio.create_task(process.ask(http, record, stream=True)) for _ in range(200)]
    while len(upstream.wires) < 200:
        await asyncio.sleep(0.05)
    os.kill(record.pid, signal.SIGTERM)
    await asyncio.sleep(0.5)
    refused = await process.ask(http, record)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "shutting_down")
    go.set()
    texts = [each.text for each in await asyncio.gather(*streams)]
    assert all('"lo"' in text and text.endswith("data: [DONE]\n\n") for text in texts)
    assert await asyncio.to_thread(process.started[0].wait, 2 + service.DRAIN) == 0
    assert process.rows() == 200


async def test_a_killed_gateway_is_back_within_five_seconds_and_knows_what_it_knew(
    process: Process, upstream: Scripted, http: httpx.AsyncClient
) -> None:
    first = await process.start()
    for _ in range(20):
        assert (await process.ask(http, first)).status_code == 200
    while process.rows() < 20:
        await asyncio.sleep(0.02)
    os.kill(first.pid, signal.SIGKILL)
    process.started[0].wait()
    began = time.monotonic()
    second = await process.start(first.port)
    found = await process.ask(http, second)
    took = time.monotonic() - began
    assert found.headers["x-studiolo-deployment"] == "mock/blue"
    assert process.workspace.spool.ingest() >= 20
    busy = psutil.getloadavg()[0] > (os.cpu_count() or 1)
    assert took < 5 or busy  # a busy machine proves nothing


async def test_a_gateway_that_comes_back_tells_again_what_the_one_before_answered_to_a_key(
    process: Process, upstream: Scripted, http: httpx.AsyncClient
) -> None:
    record = await process.start()
    first = await process.ask(http, record, key="k-1")
    assert (first.status_code, len(upstream.wires)) == (200, 1)
    os.kill(record.pid, signal.SIGKILL)
    process.started[0].wait()
    record = await process.start()
    again = await process.ask(http, record, key="k-1")
    assert (again.content, again.headers["idempotent-replayed"]) == (first.content, "true")
    assert again.headers["x-studiolo-deployment"] == "mock/blue"
    assert len(upstream.wires) == 1
    other = await process.ask(http, record, key="k-1", seed=7)
    assert (other.status_code, other.json()["error"]["code"]) == (422, "idempotency_key_reused")


async def test_requests_that_end_in_every_way_leave_neither_memory_nor_files_behind(
    process: Process, upstream: Scripted, http: httpx.AsyncClient
) -> None:
    async def fitful(wire: Wire) -> None:
        kind = wire.request.get("seed", 0) % 20
        if kind == 1:
            return  # an engine that hangs up
        if kind == 2:
            await wire.json({"error": {"message": "no"}}, status=400)
            return
        await answer(wire)

    upstream.script = fitful
    record = await process.start()
    watched = psutil.Process(record.pid)
    numbers = iter(range(1_000_000))

    async def client(count: int) -> None:
        for _ in range(count):
            number = next(numbers)
            asking = process.ask(http, record, seed=number, stream=bool(number % 2))
            if number % 20 == 3:  # one that leaves
                task = asyncio.create_task(asking)
                await asyncio.sleep(0.003)
                task.cancel()
            else:
                await asking

    async def clients(count: int) -> int:
        await asyncio.gather(*[client(count // 10) for _ in range(10)])
        upstream.wires.clear()
        await asyncio.sleep(0.5)
        return int(watched.memory_info().rss)

    await clients(500)  # warm
    before = await clients(500)
    after = await clients(1_000)
    assert after - before < 3 * 2**20
    await asyncio.sleep(2.5)  # kept connections are let go
    assert watched.num_fds() < 60
    assert watched.num_threads() < 40


def test_the_long_versions_have_a_script() -> None:
    assert (Path(__file__).parents[2] / "benchmarks" / "gateway_faults.py").exists()

"""The long versions of the gateway's fault tests, with figures: `python benchmarks/gateway_faults.py`.

A gateway process of its own in front of a server that answers at once: how soon it answers where something is wrong; a
split of 20,000 requests, clients that leave, 500 streams, clients that do not read, and a soak in which one in twenty
leaves and one in a hundred is refused.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gateway_speed as speed
import httptools
import psutil
import uvloop
from gateway_latency import latency
from mock_upstream import DELTA, HEAD

from serving import endpoints
from workspace.home import Workspace


def main() -> None:
    """Run all and print a line each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=200_000, help="of the soak")
    parser.add_argument("--leaving", type=int, default=100, help="clients that leave, of each kind")
    parser.add_argument("--split", type=int, default=20_000)
    parser.add_argument("--only", choices=["latency", "load"], help="how soon it answers, or what it bears")
    parser.add_argument("--litellm", type=Path, help="soak LiteLLM's proxy too")
    given = parser.parse_args()
    if given.only != "load":
        latency()
    if given.only == "latency":
        return
    with ExitStack() as stack:
        server = stack.enter_context(speed.mock())
        target = stack.enter_context(speed.ours(server.port, ways=2))
        uvloop.run(split(target, given.split))
        uvloop.run(leaving(given.leaving))
        found = speed.client(target, kind="streams", clients=500)
        bad = found["bad"]
        print(f"500 streams at once: {found['requests'] - bad:.0f} whole, {bad:.0f} errors, {found['seconds']:.1f} s")
        uvloop.run(deaf())
        uvloop.run(soak(target, given.requests))
        if given.litellm:
            theirs = stack.enter_context(speed.litellm(given.litellm, server.port))
            uvloop.run(soak(theirs, given.requests // 20))


async def split(target: speed.Target, number: int) -> None:
    """Count who answers."""
    seen: Counter[str] = Counter()
    request = speed.request_to(target.port, target.token)

    async def client(count: int) -> None:
        asker = await connected(target, request)
        for _ in range(count):
            _, good = await asker.ask()
            who = asker.buffer.partition(b"x-studiolo-deployment: ")[2].partition(b"\r\n")[0].decode()
            seen[who if good else "failed"] += 1

    await asyncio.gather(*[client(number // 16) for _ in range(16)])
    total = seen.total()
    parts = ", ".join(f"{name} {count / total:.2%}" for name, count in sorted(seen.items()))
    print(f"90/10 over {total:,} requests: {parts}")


@dataclass
class Silent(asyncio.Protocol):
    """A server that says nothing, or one event, and notes when its client has left."""

    ended: asyncio.Queue[float]
    reached: asyncio.Queue[None]
    event: bool = False
    body: bytes = b""
    parser: Any = field(init=False)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.parser = httptools.HttpRequestParser(self)
        self.asked = False

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_complete(self) -> None:
        self.asked = True
        if self.event:
            self.transport.write(HEAD + DELTA)
        self.reached.put_nowait(None)

    def connection_lost(self, _: Exception | None) -> None:
        if self.asked:
            self.ended.put_nowait(time.perf_counter())


async def leaving(times: int) -> None:
    """Let clients leave before and after the first token; print how soon the server behind knew."""
    ended: asyncio.Queue[float] = asyncio.Queue()
    reached: asyncio.Queue[None] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    for stream, event in ((False, False), (True, False), (True, True)):
        server = await loop.create_server(lambda event=event: Silent(ended, reached, event), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        with ExitStack() as stack:
            target = await asyncio.to_thread(stack.enter_context, speed.ours(port))
            took = []
            for _ in range(times):
                asker = await connected(target, speed.request_to(target.port, target.token, stream=stream))
                asker.transport.write(asker.request)
                await reached.get()
                while event and b"word" not in asker.buffer:
                    await asyncio.sleep(0.001)
                left = time.perf_counter()
                asker.transport.abort()
                took.append(await asyncio.wait_for(ended.get(), 10) - left)
            in_time = sum(seconds < 1 for seconds in took)
            kind = f"{'stream' if stream else 'whole answer'}, {'after' if event else 'before'} the first token"
            last = max(took) * 1e3
            print(f"clients that left ({kind}): {in_time}/{times} known within 1 s, the last after {last:.0f} ms")
            await asyncio.to_thread(stack.close)
        server.close()


async def deaf(number: int = 100) -> None:
    """Let clients not read streams of 7 MB; print what that costs the gateway and others, who ask another server."""
    with ExitStack() as stack:
        loud, server = stack.enter_context(speed.mock(events=50_000, pause=0)), stack.enter_context(speed.mock())

        def with_loud(workspace: Workspace, _: int) -> None:
            properties = {"base_url": f"http://127.0.0.1:{loud.port}/v1"}
            endpoints.put_deployment(workspace, "mock", "loud", engine="openai", model="m", properties=properties)

        target = stack.enter_context(speed.ours(server.port, more=with_loud))
        quiet = await asyncio.to_thread(speed.client, target, kind="open", rate=100, seconds=4)
        before = speed.rss_of(target.process)
        request = speed.request_to(target.port, target.token, model="mock/loud", stream=True)
        clients = []
        for _ in range(number):
            connection = socket.create_connection(("127.0.0.1", target.port))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            connection.sendall(request)
            clients.append(connection)
        found = await asyncio.to_thread(speed.client, target, kind="open", rate=100, seconds=4)
        each = (speed.rss_of(target.process) - before) / number
        others = f"the others' p99 {found['p99']:.1f} ms, before {quiet['p99']:.1f} ms, {found['bad']:.0f} failed"
        print(f"{number} clients that do not read: {each:.2f} MiB for each of them; {others}")
        for connection in clients:
            connection.close()


async def soak(target: speed.Target, number: int) -> None:
    """Ask for long, with clients that leave and requests that are refused; print how memory grows."""
    good = speed.request_to(target.port, target.token)
    wrong = good.replace(b'"mock"', b'"mack"')
    sent = iter(range(number))
    memory: list[tuple[int, float]] = []
    files = target.process.num_fds()

    async def client() -> None:
        asker = await connected(target, good)
        for each in sent:
            if each % 20 == 0:
                asker.transport.write(good)
                await asyncio.sleep(0)
                asker.transport.abort()
            asker.request = wrong if each % 100 == 1 else good
            if asker.transport.is_closing():
                asker = await connected(target, good)
            await asker.ask()
            if each % max(1, number // 20) == 0:
                memory.append((each, speed.rss_of(target.process)))
                print(f"  {target.name}: {each:,} requests, {memory[-1][1]:.1f} MiB", flush=True)

    began = time.perf_counter()
    await asyncio.gather(*[client() for _ in range(16)])
    took = time.perf_counter() - began
    await asyncio.sleep(5)
    memory.append((number, speed.rss_of(target.process)))
    warm = [each for each in memory if each[0] >= number // 5]
    grown = (warm[-1][1] - warm[0][1]) / (warm[-1][0] - warm[0][0]) * 10_000
    print(
        f"soak of {target.name}, {number:,} requests in {took:.0f} s, 5 % left, 1 % refused: {grown:+.2f} MiB for "
        f"10,000 requests after the first fifth; open files {files} before, {target.process.num_fds()} after"
    )


async def connected(target: speed.Target, request: bytes) -> Any:
    """Return a connection of a client."""
    stream = b'"stream": true' in request
    make = asyncio.get_running_loop().create_connection
    return (await make(lambda: speed.Asker(request, stream=stream), "127.0.0.1", target.port))[1]


if __name__ == "__main__":
    print(json.dumps({"load": psutil.getloadavg()}))
    main()

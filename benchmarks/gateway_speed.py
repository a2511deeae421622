"""What the gateway costs: ours and LiteLLM's proxy, in front of one server that answers at once, asked by one client.

`python benchmarks/gateway_speed.py --litellm VENV/bin/litellm`

The client is a process of its own on plain sockets; so is the server behind. Each round asks all of them in turn.
Added is the time beyond that of asking the server itself. The slowdown is the wall time over the CPU time of a busy
loop around each row (1.0: a free core).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import psutil
import uvloop

sys.path.insert(0, str(Path(__file__).parent))

from flow_serve import cpu_of, rss_of, slowdown

if TYPE_CHECKING:
    from workspace.home import Workspace

START = 300.0  # seconds that a server may take to answer for the first time
OVERWHELMED = 200  # requests under way with which the client asks for no more
MESSAGES = [{"role": "system", "content": "You are brief."}, {"role": "user", "content": "Say hello to me, please."}]


@dataclass(frozen=True, slots=True)
class Target:
    """Something that is asked."""

    name: str
    port: int
    token: str
    process: psutil.Process


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--litellm", type=Path, help="the command of LiteLLM's proxy, in a virtual environment of its own"
    )
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--warm", type=float, default=10.0, help="seconds for which each is asked before")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rate", type=float, default=200.0)
    parser.add_argument("--streams", type=int, default=500)
    parser.add_argument("--only", choices=["rate", "added", "streams"], help="one of the tables")
    parser.add_argument("--as-client", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.as_client:
        print(json.dumps(uvloop.run(asked(json.loads(given.as_client)))))
        return
    with ExitStack() as stack:
        targets = [stack.enter_context(mock())]
        upstream = targets[0].port
        targets.append(stack.enter_context(ours(upstream)))
        if given.litellm:
            targets.append(stack.enter_context(litellm(given.litellm, upstream)))
        for target in targets:  # what is loaded late is loaded now
            client(target, kind="closed", clients=4, seconds=given.warm)
        if given.only in (None, "rate"):
            rate(targets, given)
        if given.only in (None, "added"):
            added(targets, given)
        if given.only in (None, "streams"):
            streams(targets[1:], given)


def rate(targets: list[Target], given: argparse.Namespace) -> None:
    """As many requests as there can be."""
    print(f"\n{given.clients} connections, each with one request at a time:\n")
    print(
        "| | requests/s | p50 | p99 | not 200 | CPU a request | memory | slowdown |\n|---|---|---|---|---|---|---|---|"
    )
    for target in targets * given.rounds:
        cpu, slow = cpu_of(target.process), slowdown()
        found = client(target, kind="closed", clients=given.clients, seconds=given.seconds)
        spent = (cpu_of(target.process) - cpu) / max(1, found["requests"]) * 1e6
        slow = (slow + slowdown()) / 2
        print(
            f"| {target.name} | {found['rate']:,.0f} | {found['p50']:.2f} ms | {found['p99']:.2f} ms "
            f"| {found['bad']:.0f} | {spent:,.0f} µs | {rss_of(target.process):,.0f} MiB | {slow:.2f} |",
            flush=True,
        )


def added(targets: list[Target], given: argparse.Namespace) -> None:
    """So many requests a second, whether or not those before are answered."""
    print(f"\n{given.rate:.0f} requests/s:\n\n| | p50 | p99 | added p50 | added p99 | not 200 | slowdown |")
    print("|---|---|---|---|---|---|---|")
    for _ in range(given.rounds):
        base = {"p50": 0.0, "p99": 0.0}
        for number, target in enumerate(targets):
            slow = slowdown()
            found = client(target, kind="open", rate=given.rate, seconds=given.seconds)
            base = base if number else found
            more, slow = [found[name] - base[name] for name in ("p50", "p99")], (slow + slowdown()) / 2
            print(
                f"| {target.name} | {found['p50']:.2f} ms | {found['p99']:.2f} ms | {more[0]:.2f} ms "
                f"| {more[1]:.2f} ms | {found['bad']:.0f} | {slow:.2f} |",
                flush=True,
            )


def streams(targets: list[Target], given: argparse.Namespace) -> None:
    """Many streams at once."""
    print(f"\n{given.streams} streams at once, 20 events each, 0.1 s apart:\n")
    print("| | whole streams | errors | first event p50 | p99 | seconds | memory | slowdown |\n" + "|---" * 8 + "|")
    for target in targets:
        slow = slowdown()
        found = client(target, kind="streams", clients=given.streams)
        slow = (slow + slowdown()) / 2
        print(
            f"| {target.name} | {found['requests'] - found['bad']:.0f} | {found['bad']:.0f} | {found['p50']:.0f} ms "
            f"| {found['p99']:.0f} ms | {found['seconds']:.1f} | {rss_of(target.process):,.0f} MiB | {slow:.2f} |",
            flush=True,
        )


def client(target: Target, **order: object) -> dict[str, float]:
    """Ask by a process of its own."""
    order |= {"port": target.port, "token": target.token}
    command = [sys.executable, __file__, "--as-client", json.dumps(order)]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return found


class Asker(asyncio.Protocol):
    """One connection of the client: a request at a time, whose end is told to `done`."""

    def __init__(self, request: bytes, *, stream: bool = False) -> None:
        self.request, self.stream = request, stream
        self.buffer = b""
        self.first = 0.0
        self.done: asyncio.Future[bool] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    async def ask(self) -> tuple[float, bool]:
        """Return the seconds until the answer, or the first event of a stream, and whether all was well."""
        began = time.perf_counter()
        self.buffer, self.first = b"", 0.0
        self.done = asyncio.get_running_loop().create_future()
        self.transport.write(self.request)
        good = await self.done
        return (self.first if self.stream else time.perf_counter()) - began, good

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if self.stream:
            if not self.first and b"data: " in self.buffer:
                self.first = time.perf_counter()
            if self.buffer.endswith(b"0\r\n\r\n"):
                self.end(self.buffer.count(b"word") == 20 and b"[DONE]" in self.buffer)
            return
        head, gap, body = self.buffer.partition(b"\r\n\r\n")
        if gap:
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
            if len(body) >= length:
                self.end(head.startswith(b"HTTP/1.1 200"))

    def connection_lost(self, _: Exception | None) -> None:
        self.end(False)

    def end(self, good: bool) -> None:
        if self.done and not self.done.done():
            self.done.set_result(good)


def request_to(port: int, token: str, *, model: str = "mock", stream: bool = False) -> bytes:
    """Return a chat request."""
    asked_for: dict[str, object] = {"model": model, "messages": MESSAGES, "max_tokens": 16}
    body = json.dumps({**asked_for, "stream": True} if stream else asked_for).encode()
    return (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {token}\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body


async def asked(order: dict[str, object]) -> dict[str, float]:
    """Do what the order says and return what was seen."""
    port, token, kind = int(str(order["port"])), str(order["token"]), order["kind"]
    loop = asyncio.get_running_loop()
    request = request_to(port, token, stream=kind == "streams")
    times: list[float] = []
    bad = 0

    async def connect() -> Asker:
        return (await loop.create_connection(lambda: Asker(request, stream=kind == "streams"), "127.0.0.1", port))[1]

    def note(seconds: float, good: bool) -> None:
        nonlocal bad
        times.append(seconds)
        bad += not good

    async def busy(until: float) -> None:
        asker = await connect()
        while time.perf_counter() < until:
            note(*await asker.ask())
            if asker.transport.is_closing():
                asker = await connect()

    began = time.perf_counter()
    if kind == "closed":
        until = began + float(str(order["seconds"]))
        await asyncio.gather(*[busy(until) for _ in range(int(str(order["clients"])))])
    elif kind == "streams":
        askers = [await connect() for _ in range(int(str(order["clients"])))]
        began = time.perf_counter()
        for result in await asyncio.gather(*[asker.ask() for asker in askers]):
            note(*result)
    else:
        free = [await connect() for _ in range(8)]
        pending: set[asyncio.Task[None]] = set()

        async def one() -> None:
            asker = free.pop() if free else await connect()
            note(*await asker.ask())
            if not asker.transport.is_closing():
                free.append(asker)

        number, count = 0, int(float(str(order["rate"])) * float(str(order["seconds"])))
        while number < count and len(pending) < OVERWHELMED:
            wait = began + number / float(str(order["rate"])) - time.perf_counter()
            if wait > 0:
                await asyncio.sleep(wait)
            task = asyncio.create_task(one())
            pending.add(task)
            task.add_done_callback(pending.discard)
            number += 1
        await asyncio.gather(*pending)
    took = time.perf_counter() - began
    cuts = statistics.quantiles(times, n=100)
    return {
        "requests": len(times), "bad": bad, "rate": len(times) / took, "seconds": took,
        "p50": cuts[49] * 1e3, "p99": cuts[98] * 1e3,
    }  # fmt: skip


@contextmanager
def mock(*, events: int = 20, pause: float = 0.1) -> Iterator[Target]:
    """Run the server that answers at once."""
    port = free_port()
    script = Path(__file__).with_name("mock_upstream.py")
    command = [sys.executable, str(script), "--port", str(port), "--events", str(events), "--pause", str(pause)]
    with running(command, port) as process:
        yield Target("the server itself", port, "x", process)


@contextmanager
def ours(upstream: int, *, ways: int = 1, more: Callable[[Workspace, int], None] = lambda *_: None) -> Iterator[Target]:
    """Run our gateway in front of it, on a workspace of its own; with two ways green gets a tenth.

    `more` makes what else the workspace shall have.
    """
    from serving import endpoints
    from workspace.home import Workspace

    port = free_port()
    with tempfile.TemporaryDirectory() as home:
        with Workspace.open(Path(home)) as workspace:
            properties = {"base_url": f"http://127.0.0.1:{upstream}/v1"}
            endpoints.put(workspace, "mock")
            for name in ("blue", "green")[:ways]:
                endpoints.put_deployment(workspace, "mock", name, engine="openai", model="m", properties=properties)
            endpoints.put(workspace, "mock", traffic={"blue": 100} if ways == 1 else {"blue": 90, "green": 10})
            more(workspace, upstream)
            token = workspace.tokens.local()
        command = [sys.executable, "-m", "serving.gateway", "--home", home, "--port", str(port)]
        with running(command, port) as process:
            yield Target("studiolo", port, token, process)


@contextmanager
def litellm(command: Path, upstream: int) -> Iterator[Target]:
    """Run LiteLLM's proxy in front of it, as its documentation says: one worker, a key, nothing logged."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        base, key = f"http://127.0.0.1:{upstream}/v1", f"sk-{secrets.token_hex(24)}"
        # A model whose price it knows: for others it counts, fails and logs, which takes five times as long.
        parameters = {"model": "openai/gpt-4o-mini", "api_base": base, "api_key": "x"}
        config = {
            "model_list": [{"model_name": "mock", "litellm_params": parameters}],
            "general_settings": {"master_key": key},
            "litellm_settings": {"telemetry": False, "num_retries": 0},
        }
        path = Path(folder) / "config.yaml"
        path.write_text(json.dumps(config))  # JSON is YAML
        arguments = ["--config", str(path), "--port", str(port), "--host", "127.0.0.1", "--num_workers", "1"]
        with running([str(command), *arguments], port) as process:
            yield Target("LiteLLM", port, key, process)


@contextmanager
def running(command: list[str], port: int) -> Iterator[psutil.Process]:
    """Run a server until the end of the block, from when it answers."""
    environment = {**os.environ, "LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + START
        while True:
            try:
                httpx.get(f"http://127.0.0.1:{port}/health", timeout=2)
                break
            except httpx.TransportError:
                if server.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"{command[0]} does not answer") from None
                time.sleep(0.1)
        yield psutil.Process(server.pid)
    finally:
        server.terminate()
        try:
            server.wait(40)
        except subprocess.TimeoutExpired:
            server.kill()


def free_port() -> int:
    """Return a port that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()

"""How soon the gateway answers where something is wrong: a part of `python benchmarks/gateway_faults.py`.

The promises 4, 12, 14, 20 and 24 with their percentiles: connections that are refused, a full queue, everything down, a
mirror that hangs, and what the gateway adds at 200 requests a second. A gateway process of its own, a server that
answers at once, and a client of its own where the rate is held.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import gateway_speed as speed
import uvloop

if TYPE_CHECKING:
    from workspace.home import Workspace

TRIED = 5  # requests that meet a dead server before its breaker opens
DEAD = 40  # dead servers
ROUNDS = 5


def latency() -> None:
    """Run all and print a line each."""
    with speed.mock() as server, speed.ours(server.port, more=_wrong) as target:
        speed.client(target, kind="closed", clients=4, seconds=5)
        uvloop.run(wrong(target))
        rate(server, target)
    mirrored()


def _wrong(workspace: Workspace, upstream: int) -> None:
    """Make endpoints behind which something is wrong."""
    from serving import endpoints

    def deploy(endpoint: str, name: str, port: int, **settings: Any) -> None:
        properties = {"base_url": f"http://127.0.0.1:{port}/v1", "settings": settings}
        endpoints.put_deployment(workspace, endpoint, name, engine="openai", model="m", properties=properties)

    for number in range(DEAD):
        for kind, second in (("r", upstream), ("d", 0)):  # one that is stood in for, one that has nobody
            name = f"{kind}{number:03}"
            endpoints.put(workspace, name)
            deploy(name, "blue", speed.free_port())
            deploy(name, "green", second or speed.free_port())
            endpoints.put(workspace, name, traffic={"blue": 100}, properties={"fallback": ["green"]})
    endpoints.put(workspace, "full")
    deploy("full", "blue", SILENT, concurrency=1, queue_wait=60.0)
    endpoints.put(workspace, "full", traffic={"blue": 100})


SILENT = speed.free_port()  # where a server takes requests and says nothing


async def wrong(target: speed.Target) -> None:
    """Ask where something is wrong, one request after the other."""
    refused = [f"r{number:03}" for number in range(DEAD) for _ in range(TRIED)]
    with_it, without = await asked(target, refused), await asked(target, ["mock"] * len(refused))
    added = percentile(with_it, 95) - percentile(without, 95)
    print(f"connection refused, answered by the other: {said(with_it)}; p95 {added:+.2f} ms beside that of a sound one")
    down = await asked(target, [name.replace("r", "d") for name in refused])
    print(f"all down, each tried: {said(down)}")
    down = await asked(target, [name.replace("r", "d") for name in refused])
    print(f"all down, known by the breakers: {said(down)}")
    server = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", SILENT)
    waiting = [asyncio.create_task(asked(target, ["full"])) for _ in range(3)]  # one at work, two in the queue
    await asyncio.sleep(0.5)
    print(f"queue full: {said(await asked(target, ['full'] * 200))}")
    for task in waiting:
        task.cancel()
    server.close()


def rate(server: speed.Target, target: speed.Target) -> None:
    """Ask 200 times a second, the server itself and through the gateway in turn."""
    found: dict[str, list[dict[str, float]]] = {"direct": [], "through": []}
    for _ in range(ROUNDS):
        for name, each in (("direct", server), ("through", target)):
            found[name].append(speed.client(each, kind="open", rate=200, seconds=5))
    p50, p99 = (middle(found["through"], name) - middle(found["direct"], name) for name in ("p50", "p99"))
    bad = sum(each["bad"] for each in found["through"])
    print(f"200 requests/s, {ROUNDS} rounds: p50 {p50:+.2f} ms, p99 {p99:+.2f} ms, {bad:.0f} errors")


def mirrored() -> None:
    """Ask 200 times a second, with a mirror of half of the requests that hangs and without one, in turn."""

    def hangs(workspace: Workspace, _: int) -> None:
        from serving import endpoints

        properties = {"base_url": f"http://127.0.0.1:{SILENT}/v1"}
        endpoints.put_deployment(workspace, "mock", "shadow", engine="openai", model="m", properties=properties)
        endpoints.put(workspace, "mock", mirror={"shadow": 50})

    command = [sys.executable, "-c", HANGING, str(SILENT)]
    found: dict[str, list[dict[str, float]]] = {"without": [], "with": []}
    with speed.mock() as server, speed.ours(server.port) as plain, speed.ours(server.port, more=hangs) as target:
        silent = subprocess.Popen(command)
        try:
            for each in (plain, target):
                speed.client(each, kind="closed", clients=4, seconds=5)
            for _ in range(ROUNDS):
                for name, each in (("without", plain), ("with", target)):
                    found[name].append(speed.client(each, kind="open", rate=200, seconds=5))
        finally:
            silent.kill()
            silent.wait()
    bad = sum(each["bad"] for each in found["with"])
    p50, p99 = ((middle(found["without"], name), middle(found["with"], name)) for name in ("p50", "p99"))
    told = [f"{name} {a:.2f} ms without, {b:.2f} ms with ({b / a - 1:+.0%})" for name, (a, b) in
            (("p50", p50), ("p99", p99))]  # fmt: skip
    print(f"a mirror that hangs, {ROUNDS} rounds of 200 requests/s: {'; '.join(told)}; {bad:.0f} errors")


HANGING = """
import asyncio, sys

async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(asyncio.Protocol, "127.0.0.1", int(sys.argv[1]), backlog=2048)
    await server.serve_forever()

asyncio.run(main())
"""


async def asked(target: speed.Target, names: Sequence[str]) -> list[tuple[float, str]]:
    """Ask by these names, one request after the other; return the milliseconds and the status of each."""
    made = asyncio.get_running_loop().create_connection
    found = []
    asker: Any = None
    for name in names:
        request = speed.request_to(target.port, target.token, model=name)
        if asker is None or asker.transport.is_closing():
            asker = (await made(lambda: speed.Asker(b""), "127.0.0.1", target.port))[1]
        asker.request = request
        seconds, _ = await asker.ask()
        found.append((seconds * 1e3, asker.buffer.split(b" ", 2)[1].decode()))
    return found


def percentile(found: Sequence[tuple[float, str]], part: int) -> float:
    """Return the milliseconds that so many percent stayed below."""
    return statistics.quantiles([each for each, _ in found], n=100)[part - 1]


def said(found: Sequence[tuple[float, str]]) -> str:
    """Say how soon, and with which statuses."""
    statuses = ", ".join(
        f"{count} of status {status}" for status, count in Counter(status for _, status in found).items()
    )
    parts = ", ".join(f"p{part} {percentile(found, part):.2f} ms" for part in (50, 95, 99))
    return f"{statuses}; {parts}, longest {max(found)[0]:.2f} ms"


def middle(found: Sequence[dict[str, float]], name: str) -> float:
    """Return the middle of the rounds."""
    return statistics.median(each[name] for each in found)

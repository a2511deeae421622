"""How fast a served flow answers: ours, and the real prompt flow's where PF_BIN names its bin folder.

`python benchmarks/flow_serve.py --clients 8 --seconds 5`

One client for all: a process of its own that keeps so many connections busy, each with one request at a time, over
plain sockets and epoll, so that the client costs little beside the server. The slowdown is wall time over CPU time of
a busy loop around the measurement (1.0: a free core).
"""

from __future__ import annotations

import argparse
import json
import os
import select
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

FLOW = Path(__file__).resolve().parent / "flows" / "three_nodes"
START = 60.0  # seconds that a server may take to answer for the first time


class Silent(Exception):
    """A server that does not answer."""


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flow", type=Path, default=FLOW, help="a flow folder with inputs text and n")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", default="1", help="of ours, such as 1,2")
    parser.add_argument("--as-client", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.as_client:
        print(json.dumps(load(given.as_client, given.clients, given.seconds)))
        return
    print("| server | clients | requests/s | p50 | p99 | not 200 | server CPU/request | RSS | up after | slowdown |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for workers in given.workers.split(","):
        ours = [
            sys.executable,
            "-m",
            "studiolo.cli",
            "flow",
            "serve",
            "--source",
            str(given.flow),
            "--workers",
            workers,
        ]
        measure(f"studiolo, {workers} process(es)", [*ours, "--port"], given)
    if peer := os.environ.get("PF_BIN"):
        for engine in ("flask", "fastapi"):
            theirs = [f"{peer}/pf", "flow", "serve", "--source", str(given.flow), "--skip-open-browser"]
            try:
                measure(f"promptflow, {engine}", [*theirs, "--engine", engine, "--port"], given)
            except Silent as silent:
                print(silent, file=sys.stderr)


def measure(name: str, command: list[str], given: argparse.Namespace) -> None:
    """Start a server, load it a few times, print a row a time."""
    with tempfile.TemporaryDirectory() as home, served(command, _homes(home)) as (port, process, up):
        for _ in range(given.rounds):
            slow, before = slowdown(), cpu_of(process)
            found = load_beside(port, clients=given.clients, seconds=given.seconds)
            spent = (cpu_of(process) - before) / found["requests"] * 1e6
            print(
                f"| {name} | {given.clients} | {found['rate']:,.0f} | {found['p50']:.2f} ms | {found['p99']:.2f} ms | "
                f"{found['bad']} | {spent:,.0f} µs | {rss_of(process):,.0f} MiB | {up:.1f} s | "
                f"{(slow + slowdown()) / 2:.2f} |",
                flush=True,
            )


def _homes(home: str) -> dict[str, str]:
    return {**os.environ, "STUDIOLO_HOME": home, "PF_HOME_DIRECTORY": home}


@contextmanager
def served(command: list[str], environment: dict[str, str]) -> Iterator[tuple[int, psutil.Process, float]]:
    """Run a server on a free port for the block."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    began = time.perf_counter()
    server = subprocess.Popen(
        [*command, str(port)], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while (answer := ask(port)) != 200:
            if server.poll() is not None or time.perf_counter() - began > START:
                raise Silent(f"{' '.join(command)} does not answer: {answer}")
            time.sleep(0.05)
        yield port, psutil.Process(server.pid), time.perf_counter() - began
    finally:
        server.terminate()
        server.wait(40)


def ask(port: int) -> int | None:
    """Return the status of one request, None where nobody listens."""
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as connection:
            connection.sendall(request(port, 0))
            return int(connection.recv(4096).split(b" ", 2)[1])
    except (OSError, IndexError, ValueError):
        return None


def request(port: int, number: int) -> bytes:
    """Return one request for /score."""
    body = json.dumps({"text": f" Hello {number} ", "n": number}).encode()
    head = f"POST /score HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def load_beside(port: int, *, clients: int, seconds: float) -> dict[str, float]:
    """Have a process of its own keep the server busy, and return what it found."""
    client = [sys.executable, __file__, "--as-client", str(port)]
    arguments = [*client, "--clients", str(clients), "--seconds", str(seconds)]
    found: dict[str, float] = json.loads(subprocess.run(arguments, check=True, capture_output=True).stdout)
    return found


def load(port: int, clients: int, seconds: float) -> dict[str, float]:
    """Keep `clients` connections busy; return the rate and the times of what was answered."""
    poll = select.epoll()
    connections: dict[int, tuple[socket.socket, bytearray]] = {}
    sent: dict[int, float] = {}

    def connect() -> None:
        connection = socket.create_connection(("127.0.0.1", port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        poll.register(connection.fileno(), select.EPOLLIN)
        connections[connection.fileno()] = connection, bytearray()
        ask_next(connection)

    def ask_next(connection: socket.socket) -> None:
        sent[connection.fileno()] = time.perf_counter()
        connection.sendall(request(port, len(times)))

    times: list[float] = []
    bad = 0
    for _ in range(clients):
        connect()
    began = time.perf_counter()
    while time.perf_counter() - began < seconds:
        for number, _ in poll.poll(1):
            connection, buffer = connections[number]
            came = connection.recv(65536)
            buffer += came
            if came and not is_whole(buffer):
                continue
            if came:
                times.append(time.perf_counter() - sent[number])
                bad += not buffer.startswith(b"HTTP/1.1 200")
            if came and b"\r\nconnection: close" not in buffer.lower():
                buffer.clear()
                ask_next(connection)
            else:
                poll.unregister(number)
                del connections[number]
                connection.close()
                connect()
    took = time.perf_counter() - began
    cuts = statistics.quantiles(times, n=100)
    return {"requests": len(times), "rate": len(times) / took, "p50": cuts[49] * 1e3, "p99": cuts[98] * 1e3, "bad": bad}


def is_whole(buffer: bytearray) -> bool:
    """Whether an answer has come whole."""
    head, gap, body = bytes(buffer).partition(b"\r\n\r\n")
    if not gap:
        return False
    _, _, rest = head.lower().partition(b"content-length: ")
    return len(body) >= int(rest.partition(b"\r\n")[0])


def cpu_of(process: psutil.Process) -> float:
    """Return the CPU seconds of a process and its children."""
    times = [each.cpu_times() for each in [process, *process.children(recursive=True)]]
    return float(sum(each.user + each.system for each in times))


def rss_of(process: psutil.Process) -> float:
    """Return the memory of a process and its children in MiB."""
    return float(sum(each.memory_info().rss for each in [process, *process.children(recursive=True)])) / 2**20


def slowdown(seconds: float = 0.2) -> float:
    """Return the wall time over the CPU time of a busy loop."""
    wall, cpu = time.perf_counter(), time.process_time()
    while time.process_time() - cpu < seconds:
        sum(range(1000))
    return (time.perf_counter() - wall) / (time.process_time() - cpu)


if __name__ == "__main__":
    main()

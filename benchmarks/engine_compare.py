"""Engines side by side: how fast each answers 1, 16 and 64 chats at once, asked directly and through our gateway.

    python benchmarks/engine_compare.py [--vllm VENV] [--gguf FILE] [--chats 1,16,64] [--rounds 3]

runs our torch engine and `transformers serve --continuous-batching` of this environment, vLLM where its environment is
given, our engine llamacpp where the model is given as a GGUF file too, one after another on the embedded chat model,
each in every round. One client asks them all: a process of its own over plain sockets. Tokens a second count the
prompt's time too; tokens a CPU second are those of the whole process tree and hardly change when neighbours are at
work. The ratio is to `transformers serve`.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from catalog.embedded import SMOLLM2, prepare
from serving import endpoints, replicas
from serving.local import Gateway, local_gateway
from workspace import Workspace
from workspace.settings import Settings

PEER = "transformers serve"
LLAMACPP = "studiolo, llamacpp, Q4_1"
GGUF = "gguf"
START = 400.0  # seconds that a server may take to answer for the first time
TOPICS = [
    "a fox",
    "the sea",
    "a robot",
    "winter",
    "a library",
    "two friends",
    "a train",
    "the moon",
    "bread",
    "music",
    "a garden",
    "a city",
    "rain",
]


@dataclass(frozen=True)
class Door:
    """A way to one server: where it listens, what it calls the model, which process computes."""

    name: str
    address: str  # a port of this machine, or the path of a unix socket
    model: str
    pid: int
    key: str = ""


@dataclass(frozen=True)
class Found:
    """One measurement."""

    rate: float
    first: float
    cpu: float  # tokens a CPU second
    load: float


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chats", default="1,16", help="chats at once, after commas")
    parser.add_argument("--tokens", type=int, default=100, help="of each answer, at most")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--times", type=int, default=1, help="each server is asked in a round")
    parser.add_argument("--dtypes", default="auto", help=f"of {PEER}, after commas: auto,float32")
    parser.add_argument("--threads", default="", help="compute threads of every engine; left out: its own default")
    parser.add_argument("--vllm", type=Path, help="virtual environment with vLLM")
    parser.add_argument("--gguf", type=Path, help="the model as llama.cpp reads it")
    parser.add_argument("--engine", action="append", help="only this row of the table; may be repeated")
    parser.add_argument("--as-client", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.as_client:
        print(json.dumps(asyncio.run(ask_all(**json.loads(given.as_client)))))
        return
    found: dict[tuple[str, int], list[Found]] = {}
    with Workspace.open() as shelf, tempfile.TemporaryDirectory() as home:
        for _ in prepare(shelf, [SMOLLM2]):
            pass
        asset = shelf.assets.get("model", SMOLLM2.name)
        model = shelf.assets.path(asset)
        settings = Settings(home=Path(home) / "home", threads=int(given.threads or 0))
        with Workspace.open(settings=settings) as workspace, local_gateway(workspace) as gateway:
            workspace.assets.put("model", SMOLLM2.name, model, properties=asset.properties)
            if given.gguf:
                put_gguf(workspace, given.gguf)
            for _ in range(given.rounds):
                measure_all(given, workspace, gateway, model, found)
    names = [f"{PEER}, {dtype}" for dtype in given.dtypes.split(",")]
    print("\n| engine | chats | tokens/s | ratio | first token, middle | tokens/CPU s | ratio | load |")
    print("|---|---|---|---|---|---|---|---|")
    for (name, chats), rounds in found.items():
        peers = [each for (other, count), each in found.items() if other in names and count == chats]
        print(row(name, chats, rounds, max(peers, key=lambda each: middle(each, "cpu"), default=rounds)))


def measure_all(
    given: argparse.Namespace,
    workspace: Workspace,
    gateway: Gateway,
    model: Path,
    found: dict[tuple[str, int], list[Found]],
) -> None:
    """Start every server once and ask it by both doors, each of them first in turn."""
    for name, command in commands(given, model).items():
        if given.engine and name not in given.engine:
            continue
        with ExitStack() as stack:
            if command is None:
                doors = our_doors(name, workspace, gateway, GGUF if name == LLAMACPP else SMOLLM2.name)
            else:
                port, pid = stack.enter_context(served(command, given.threads))
                doors = their_doors(name, workspace, gateway, port, pid, served_name(name, model))
            for chats, turn in itertools.product(map(int, given.chats.split(",")), range(given.times)):
                for door in reversed(doors) if turn % 2 else doors:
                    one = measure(door, chats, given.tokens)
                    found.setdefault((door.name, chats), []).append(one)
                    print(f"{door.name}, {chats}: {one}", file=sys.stderr, flush=True)
            if command is None:
                replicas.stop_all(workspace.home)


def commands(given: argparse.Namespace, model: Path) -> Mapping[str, list[str] | None]:
    """Return how each server is started, ending in the option that takes its port; ours by the gateway."""
    here = Path(sys.executable).parent
    found: dict[str, list[str] | None] = {"studiolo, torch": None}
    for dtype in given.dtypes.split(","):
        command = [str(here / "transformers"), "serve", str(model), "--continuous-batching", "--dtype", dtype]
        found[f"{PEER}, {dtype}"] = [*command, "--device", "cpu", "--port"]
    if given.vllm:
        vllm = [str(given.vllm / "bin/python"), "-m", "vllm.entrypoints.openai.api_server", "--model", str(model)]
        vllm += ["--served-model-name", SMOLLM2.name, "--max-model-len", "1024", "--max-num-seqs", "64"]
        found["vLLM"] = [*vllm, "--enforce-eager", "--kv-cache-memory-bytes", "256M", "--port"]
    if given.gguf:
        found[LLAMACPP] = None
    return found


def served_name(name: str, model: Path) -> str:
    return str(model) if name.startswith(PEER) else SMOLLM2.name


def put_gguf(workspace: Workspace, file: Path) -> None:
    """Make an endpoint for the GGUF file, with room for as many conversations as are asked at most."""
    workspace.assets.put("model", GGUF, file, properties={"task": "chat"})
    endpoints.put(workspace, GGUF)
    properties = {"n_ctx": 1024, "n_parallel": 16}
    endpoints.put_deployment(workspace, GGUF, "only", engine="llamacpp", model=GGUF, properties=properties)
    endpoints.put(workspace, GGUF, traffic={"only": 100})


def our_doors(name: str, workspace: Workspace, gateway: Gateway, model: str) -> list[Door]:
    """Start our engine by asking the gateway, and return the gateway's port and the engine's own socket."""
    port = gateway.base_url.split(":")[-1].removesuffix("/v1")
    through = Door(f"{name}, through the gateway", port, model, 0, gateway.token)
    client(through, 1, 5)
    [engine] = [each for each in replicas.living(workspace.home) if f", {each.engine}" in name]
    return [Door(name, engine.socket, model, engine.pid), replace(through, pid=engine.pid)]


def their_doors(name: str, workspace: Workspace, gateway: Gateway, port: int, pid: int, model: str) -> list[Door]:
    """Make a deployment for a server that listens on a port and return both ways to it."""
    properties = {"base_url": f"http://127.0.0.1:{port}/v1"}
    endpoints.put(workspace, "peer")
    endpoints.put_deployment(workspace, "peer", "only", engine="openai", model=model, properties=properties)
    endpoints.put(workspace, "peer", traffic={"only": 100})
    own = gateway.base_url.split(":")[-1].removesuffix("/v1")
    return [
        Door(name, str(port), model, pid),
        Door(f"{name}, through the gateway", own, "peer", pid, gateway.token),
    ]


@contextmanager
def served(command: Sequence[str], threads: str) -> Iterator[tuple[int, int]]:
    """Run a server on a free port for the block."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    variables = {
        **os.environ,
        **({"OMP_NUM_THREADS": threads} if threads else {}),
        "HF_HUB_OFFLINE": "1",
        "DO_NOT_TRACK": "1",
        "TORCHDYNAMO_DISABLE": "1",
        "VLLM_NO_USAGE_STATS": "1",
    }
    with tempfile.TemporaryFile() as log:
        server = subprocess.Popen([*command, str(port)], env=variables, stdout=log, stderr=log, start_new_session=True)
        try:
            began = time.monotonic()
            while not answers(port, b"/health"):
                if server.poll() is not None or time.monotonic() - began > START:
                    log.seek(0)
                    raise SystemExit(f"{command[:3]} does not start: {log.read()[-2000:].decode(errors='replace')}")
                time.sleep(0.3)
            yield port, server.pid
        finally:
            os.killpg(server.pid, 15)
            try:
                server.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(server.pid, 9)
                server.wait()


def answers(port: int, path: bytes) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as connection:
            connection.sendall(b"GET %b HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n" % path)
            return connection.recv(64).split(b" ")[1:2] == [b"200"]
    except OSError:
        return False


def measure(door: Door, chats: int, tokens: int) -> Found:
    """Ask a warm server."""
    client(door, 1, 5)
    before = cpu_of(door.pid)
    told = client(door, chats, tokens)
    return Found(told["rate"], told["first"], told["tokens"] / (cpu_of(door.pid) - before), os.getloadavg()[0])


def client(door: Door, chats: int, tokens: int) -> dict[str, Any]:
    work = {"address": door.address, "model": door.model, "key": door.key, "chats": chats, "tokens": tokens}
    command = [sys.executable, __file__, "--as-client", json.dumps(work)]
    told: dict[str, Any] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return told


def cpu_of(pid: int) -> float:
    processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return float(sum(sum(process.cpu_times()[:2]) for process in processes))


def middle(some: Sequence[Found], what: str) -> float:
    return float(statistics.median(getattr(each, what) for each in some))


def row(name: str, chats: int, rounds: Sequence[Found], peer: Sequence[Found]) -> str:
    rate, cpu, first = middle(rounds, "rate"), middle(rounds, "cpu"), middle(rounds, "first") * 1000
    return (
        f"| {name} | {chats} | {rate:.1f} | {rate / middle(peer, 'rate'):.2f} | {first:.0f} ms "
        f"| {cpu:.1f} | {cpu / middle(peer, 'cpu'):.2f} | {middle(rounds, 'load'):.1f} |"
    )


async def ask_all(address: str, model: str, key: str, chats: int, tokens: int) -> dict[str, float]:
    """Be the client: ask for so many stories at once, and return what came of it."""
    began = time.perf_counter()
    done = await asyncio.gather(*(ask(address, model, key, tokens, number) for number in range(chats)))
    took = time.perf_counter() - began
    total = sum(count for _, count in done)
    return {"rate": total / took, "first": statistics.median(first for first, _ in done), "tokens": total}


async def ask(address: str, model: str, key: str, tokens: int, number: int) -> tuple[float, int]:
    """Return how long the first text took, and how many tokens there were."""
    story = f"Request {number}. Write a long story about {TOPICS[number % len(TOPICS)]}, with many details."
    body = json.dumps(
        {
            "model": model,
            "messages": [{"role": "user", "content": story}],
            "max_tokens": tokens,
            "temperature": 0.7,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
    ).encode()
    began, first, pieces, counted = time.perf_counter(), 0.0, 0, 0
    if address.isdigit():
        reader, writer = await asyncio.open_connection("127.0.0.1", int(address), limit=1_000_000)
    else:
        reader, writer = await asyncio.open_unix_connection(address, limit=1_000_000)
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\n"
    head += f"content-type: application/json\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    status = await reader.readline()
    if b" 200 " not in status:
        raise SystemExit(f"{status!r} {await reader.read()!r}")
    while line := await reader.readline():
        if not line.startswith(b"data: {"):
            continue
        chunk = json.loads(line[6:])
        counted = (chunk.get("usage") or {}).get("completion_tokens") or counted
        if any((choice.get("delta") or {}).get("content") for choice in chunk.get("choices") or []):
            first = first or time.perf_counter() - began
            pieces += 1
    writer.close()
    return first, counted or pieces


if __name__ == "__main__":
    main()

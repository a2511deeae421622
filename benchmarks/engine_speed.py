"""How fast an engine answers: first token and tokens a second, for one chat and for eight at once.

    python benchmarks/engine_speed.py [--threads 1,2] [--wait passive,active]

starts the torch engine on the embedded chat model of the workspace (prepared first where it is not) and speaks to it
directly, without the gateway. Each figure is the median of the rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import httpx

from catalog.embedded import SMOLLM2, prepare
from workspace import Workspace

PROMPT = "Write a long story about a lighthouse keeper who finds a map. Tell where it leads and what is there."
TOKENS = 100
URL = "http://engine"


@dataclass(frozen=True)
class Round:
    """One measurement with `chats` at once."""

    first: float  # seconds to the first text of the median chat
    rate: float  # tokens a second, all chats together, from the first text to the last
    total: float  # tokens a second from the request to the end


async def chat(client: httpx.AsyncClient, number: int) -> tuple[float, float, int]:
    """Return when the first text came, when the last, and how many tokens there were."""
    body = {
        "messages": [{"role": "user", "content": f"{PROMPT} Variation {number}."}],
        "max_tokens": TOKENS,
        "temperature": 0.8,
        "seed": number,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    first, tokens = 0.0, 0
    async with client.stream("POST", "/v1/chat/completions", json=body) as answer:
        answer.raise_for_status()
        async for line in answer.aiter_lines():
            if line.startswith("data: {"):
                chunk = json.loads(line[6:])
                tokens = (chunk["usage"] or {}).get("completion_tokens", tokens)
                if not first and any(choice["delta"].get("content") for choice in chunk["choices"]):
                    first = time.perf_counter()
    return first, time.perf_counter(), tokens


async def measure(socket: Path, chats: int) -> Round:
    transport = httpx.AsyncHTTPTransport(uds=str(socket))
    async with httpx.AsyncClient(transport=transport, base_url=URL, timeout=600) as client:
        start = time.perf_counter()
        done = await asyncio.gather(*(chat(client, number) for number in range(chats)))
    firsts, ends, tokens = zip(*done, strict=True)
    produced = sum(tokens)
    return Round(
        first=median(firsts) - start,
        rate=(produced - chats) / (max(ends) - min(firsts)),
        total=produced / (max(ends) - start),
    )


@contextmanager
def engine(model: Path, *, threads: int, wait: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        socket = Path(folder) / "engine.sock"
        command = [sys.executable, "-m", "serving.engines.torch", "--model", str(model), "--name", SMOLLM2.name]
        command += ["--socket", str(socket), "--threads", str(threads)]
        variables = {**os.environ, "OMP_WAIT_POLICY": wait.upper()}
        process = subprocess.Popen(command, env=variables)
        try:
            with httpx.Client(transport=httpx.HTTPTransport(uds=str(socket)), base_url=URL) as client:
                while not ready(client) and process.poll() is None:
                    time.sleep(0.2)
            yield socket
        finally:
            process.terminate()
            process.wait(timeout=20)


def ready(client: httpx.Client) -> bool:
    try:
        return client.get("/health").is_success
    except httpx.TransportError:
        return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", default="0", help="compute threads, several after commas (0: the engine's own)")
    parser.add_argument("--wait", default="passive", help="OMP_WAIT_POLICY: passive, active or both after a comma")
    parser.add_argument("--chats", default="1,8")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with Workspace.open() as workspace:
        for progress in prepare(workspace, [SMOLLM2]):
            print(f"{progress.model}: {progress.step}", file=sys.stderr)
        model = workspace.assets.path(workspace.assets.get("model", SMOLLM2.name))
    print("| threads | waiting | chats | first token | tokens/s | tokens/s, prompt included | load |")
    print("|---|---|---|---|---|---|---|")
    for threads in map(int, given.threads.split(",")):
        for wait in given.wait.split(","):
            with engine(model, threads=threads, wait=wait) as socket:
                asyncio.run(measure(socket, 1))  # the first answer of a process warms it
                for chats in map(int, given.chats.split(",")):
                    rounds = [asyncio.run(measure(socket, chats)) for _ in range(given.rounds)]
                    first, rate, total = (
                        median(getattr(each, field) for each in rounds) for field in ("first", "rate", "total")
                    )
                    load = os.getloadavg()[0]
                    row = f"{first * 1000:.0f} ms | {rate:.1f} | {total:.1f} | {load:.1f}"
                    print(f"| {threads or 'own'} | {wait} | {chats} | {row} |", flush=True)


if __name__ == "__main__":
    main()

"""The process in which the code of a flow runs: lines come in on standard input, results leave on a pipe of their own.

What the flow's code prints goes to standard error, and the process ends when its parent does.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx

from flows import promptflow_names
from flows.connections import Connection
from flows.graph import load
from flows.line import Kit, aggregate, walk
from flows.results import FAILED, LineRecord
from workspace.errors import StudioloError

LINE_TIMEOUT = 600.0  # seconds


async def serve(results: int) -> None:
    """Answer messages from standard input until it closes."""
    reader = asyncio.StreamReader(limit=1 << 26)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    start = json.loads(await reader.readline())
    concurrency = start["concurrency"]
    limits = httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
    async with httpx.AsyncClient(timeout=httpx.Timeout(LINE_TIMEOUT, connect=10), limits=limits) as client:
        with ThreadPoolExecutor(max_workers=concurrency + 2) as pool:
            try:
                kit = _kit(start, client, pool)
            except Exception as error:  # noqa: BLE001 - importing the flow's code may raise anything
                _send(results, {"refused": f"{type(error).__name__}: {error}"})
                return
            _send(results, {"ready": os.getpid()})
            running: set[asyncio.Task[None]] = set()
            while message := await reader.readline():
                task = asyncio.create_task(_answer(kit, json.loads(message), results))
                running.add(task)
                task.add_done_callback(running.discard)
            os._exit(0)  # the parent is gone or has what it wanted; threads may still hang


def _kit(start: dict[str, Any], client: httpx.AsyncClient, pool: ThreadPoolExecutor) -> Kit:
    flow = load(Path(start["flow"]), variant=start["variant"])
    os.environ.update(flow.environment_variables)
    sys.path.insert(0, str(flow.folder))
    promptflow_names.install()
    connections = {name: Connection(**fields) for name, fields in start["connections"].items()}
    kit = Kit(flow, connections, client, pool)
    kit.load()
    return kit


async def _answer(kit: Kit, message: dict[str, Any], results: int) -> None:
    if "aggregate" in message:
        promptflow_names.METRICS.clear()
        records = await aggregate(kit, message["aggregate"])
        _send(results, {"aggregated": [asdict(record) for record in records], "metrics": promptflow_names.METRICS})
        return
    number, inputs = message["line"], message["inputs"]
    try:
        line = await asyncio.wait_for(walk(kit, number, inputs), LINE_TIMEOUT)
    except TimeoutError:
        error = f"Line {number} execution timeout for exceeding {LINE_TIMEOUT:g} seconds"
        line = LineRecord(
            number=number, status=FAILED, inputs=inputs, outputs=None, error=error, nodes=(), duration=LINE_TIMEOUT
        )
    _send(results, {"line": asdict(line)})


def _send(results: int, message: dict[str, Any]) -> None:
    raw = (json.dumps(message, ensure_ascii=False, default=repr) + "\n").encode()
    while raw:
        raw = raw[os.write(results, raw) :]


def main() -> None:
    """Run as `python -m flows.worker`: the results leave where standard output was."""
    results = os.dup(1)
    os.dup2(2, 1)
    try:
        asyncio.run(serve(results))
    except StudioloError as error:
        _send(results, {"refused": str(error)})


if __name__ == "__main__":
    main()

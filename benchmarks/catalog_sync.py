"""How fast the Hub's list comes here: a whole sync and one of what has changed, from the local Hub in another process.

`python benchmarks/catalog_sync.py --models 2500000` prints a table; the changed ones are 1 %.
"""

from __future__ import annotations

import argparse
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from catalog.hub import Hub
from catalog.index.arriving import Scope
from catalog.index.publish import newest
from catalog.sync import Arrived, Asked, Published, sync

SERVER = Path(__file__).with_name("catalog_models.py")


@contextmanager
def serving(models: int, changed: int) -> Iterator[str]:
    """Serve generated models as a Hub, in a process of its own."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, str(SERVER), f"--models={models}", f"--changed={changed}", f"--port={port}"]
    environment = {**os.environ, "PYTHONPATH": str(SERVER.parents[1])}
    address = f"http://127.0.0.1:{port}"
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as server:
        try:
            for _ in range(600):
                try:
                    httpx.get(f"{address}/api/models?limit=1")
                    break
                except httpx.TransportError:
                    time.sleep(0.1)
            yield address
        finally:
            server.kill()


def measured(folder: Path, address: str, name: str) -> None:
    """Sync once and print a row."""
    begun, fetched, rows, cpu = time.monotonic(), 0.0, 0, time.process_time()
    cpu_fetched = 0.0
    for event in sync(folder, Hub(endpoint=address), Asked(scope=Scope())):
        if isinstance(event, Arrived):
            rows, fetched, cpu_fetched = event.rows, time.monotonic() - begun, time.process_time() - cpu
        elif isinstance(event, Published):
            seconds = time.monotonic() - begun
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
            size = (newest(folder) or folder).stat().st_size / 1e6
            spent = time.process_time() - cpu
            told = (
                name, f"{event.changes.models:,}", f"{rows:,}", f"{rows / fetched:,.0f}", f"{fetched:.1f} s",
                f"{seconds - fetched:.1f} s", f"{seconds:.1f} s", f"{rows / seconds:,.0f}", f"{cpu_fetched:.1f} s",
                f"{spent:.1f} s", f"{memory} MiB", f"{size:,.0f} MB", f"{os.getloadavg()[0]:.1f}",
            )  # fmt: skip
            print(f"| {' | '.join(told)} |", flush=True)


def main() -> None:
    """Measure a first sync and a later one."""
    read = argparse.ArgumentParser(description=__doc__)
    read.add_argument("--models", type=int, default=100_000)
    read.add_argument("--folder", type=Path, default=None)
    given = read.parse_args()
    headings = (
        "sync", "models", "listed", "models/s fetched", "fetching", "publishing", "all", "models/s",
        "CPU of fetching", "CPU", "peak memory", "file", "load",
    )  # fmt: skip
    print(f"| {' | '.join(headings)} |\n|{'---|' * len(headings)}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        with serving(given.models, 0) as address:
            measured(folder, address, "first")
        with serving(given.models, given.models // 100) as address:
            measured(folder, address, "1 % changed")


if __name__ == "__main__":
    main()

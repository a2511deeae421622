"""Flows side by side: start, test, batches and serving by `studiolo` and `pf`, and what we have promised of each.

    python benchmarks/flow_speed.py                            # ours alone
    python benchmarks/flow_speed.py --peer VENV/bin            # beside a promptflow in its own virtual environment

The two are run in turn, on the same flows (benchmarks/flows) and rows, each in a home of its own that it has used
once before. `--sizes` are the lines of the three-node flow; the peer runs `--peer-sizes` of them, and takes minutes for
10,000. CPU seconds are those of the whole process tree; memory is the largest sum of its proportional set sizes.
Slowdown is the wall time over the CPU time of a busy loop before each row: 1.0 is a free core, and where it is more the
figures are lower bounds. Set the peer up with `pip install promptflow==1.18.5 keyrings.alt`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import flow_serve
import psutil

HERE = Path(__file__).resolve().parent


SLEEP, ASYNC = "500 lines x 100 ms sleep", "500 lines x 100 ms sleep, async"
SERVE = "flow serve, 8 clients"
PROMISED = {
    "--version": "0.25 CPU s",
    "flow test, 3 nodes": "0.6 CPU s",
    "1,000 lines x 3 nodes": "2,500 lines/s with its start",
    "10,000 lines x 3 nodes": "5,000 lines/s, 3 CPU s, 250 MiB, 10 files",
    "100,000 lines x 3 nodes": "lines/s within 10 % of 10,000's, memory flat",
    SLEEP: "300 lines/s",
    ASYNC: "300 lines/s",
    SERVE: "2,000 requests/s",
}


@dataclass(frozen=True)
class Measured:
    """One command: seconds it took, CPU seconds and memory (bytes) of its processes, files it left."""

    seconds: float
    cpu: float
    memory: int
    files: int


def measure(command: list[str], environment: dict[str, str], home: Path) -> Measured:
    """Run a command to its end and watch its process tree."""
    before = _files(home)
    watch_of = _Watch()
    started = time.perf_counter()
    process = psutil.Popen(command, env=environment, cwd=home, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    watch_of.begin(process)
    _, errors = process.communicate()
    seconds = time.perf_counter() - started
    watch_of.end()
    if process.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{errors.decode(errors='replace')[-2000:]}")
    return Measured(seconds, watch_of.cpu, watch_of.memory, _files(home) - before)


class _Watch:
    def __init__(self) -> None:
        self.memory = 0
        self._first = os.times()
        self._seen: dict[int, float] = {}
        self._over = threading.Event()

    def begin(self, process: psutil.Process) -> None:
        self._thread = threading.Thread(target=self._look, args=(process,), daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._over.set()
        self._thread.join()
        now = os.times()
        waited = now.children_user + now.children_system - self._first.children_user - self._first.children_system
        # What was waited for is exact; daemons that the command left behind are sampled.
        self.cpu = max(waited, sum(self._seen.values()))

    def _look(self, process: psutil.Process) -> None:
        while not self._over.wait(0.1):
            total = 0
            try:
                family = [process, *process.children(recursive=True)]
            except psutil.Error:
                continue
            for each in family:
                try:
                    total += each.memory_full_info().pss
                    times = each.cpu_times()
                    self._seen[each.pid] = times.user + times.system
                except psutil.Error:
                    continue
            self.memory = max(self.memory, total)


class Product:
    """One of the two command lines."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.home = folder / name
        self.home.mkdir()
        self.count = 0

    def version(self) -> list[str]:
        return [*self.command, "--version"]

    def flow_test(self, flow: Path) -> list[str]:
        return [*self.command, "flow", "test", "--flow", str(flow)]

    def serve(self, flow: Path) -> list[str]:
        return [*self.command, "flow", "serve", "--source", str(flow), "--skip-open-browser", "--port"]


class Studiolo(Product):
    """Ours, from the environment that runs this script."""

    command = [str(Path(sys.executable).parent / "studiolo")]

    def environment(self) -> dict[str, str]:
        return _environment() | {"STUDIOLO_HOME": str(self.home / "home")}

    def batch(self, flow: Path, data: Path, mapping: list[str]) -> list[str]:
        self.count += 1
        return [
            *self.command, "flow", "run", "--flow", str(flow), "--data", str(data), "--column-mapping", *mapping,
            "--name", f"run{self.count}",
        ]  # fmt: skip


class Promptflow(Product):
    """The peer, from a virtual environment of its own."""

    def __init__(self, folder: Path, bin_folder: Path) -> None:
        super().__init__("promptflow", folder)
        self.bin_folder = bin_folder
        self.command = [str(bin_folder / "pf")]
        for prepare in (["config", "set", "telemetry.enabled=false"], ["service", "start"]):
            subprocess.run([*self.command, *prepare], env=self.environment(), check=True, stdout=subprocess.DEVNULL)

    def environment(self) -> dict[str, str]:
        return _environment() | {
            "PF_HOME_DIRECTORY": str(self.home / "home"),
            "PATH": f"{self.bin_folder}{os.pathsep}{os.environ['PATH']}",
        }

    def batch(self, flow: Path, data: Path, mapping: list[str]) -> list[str]:
        self.count += 1
        return [
            *self.command, "run", "create", "--flow", str(flow), "--data", str(data), "--column-mapping", *mapping,
            "--name", f"run{self.count}",
        ]  # fmt: skip

    def close(self) -> None:
        subprocess.run([*self.command, "service", "stop"], env=self.environment(), check=False)


def _environment() -> dict[str, str]:
    """Ours, in which Python keeps what it has compiled, as it does by default."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def rows(path: Path, count: int) -> Path:
    """Write rows for the flows."""
    with path.open("w") as file:
        for number in range(count):
            file.write(json.dumps({"text": f" Row number {number} of the DATA ", "n": number}) + "\n")
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=Path, help="the bin folder of a virtual environment with promptflow")
    parser.add_argument("--sizes", default="1000,10000,100000", help="lines of the three-node flow")
    parser.add_argument("--peer-sizes", default="1000", help="those of them that the peer runs as well")
    parser.add_argument("--repeat", type=int, default=3, help="the median of so many; 100,000 lines and the peer: one")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long a served flow is asked")
    asked = parser.parse_args()
    sizes, peer_sizes = ([int(size) for size in text.split(",")] for text in (asked.sizes, asked.peer_sizes))
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        shutil.copytree(HERE / "flows", folder / "flows")
        products: list[Studiolo | Promptflow] = [Studiolo("studiolo", folder)]
        if asked.peer:
            products.append(Promptflow(folder, asked.peer.absolute()))
        try:
            print(
                f"{'':32}{'':11}{'seconds':>8}{'CPU s':>7}{'per s':>8}{'MiB':>6}{'files':>7}{'slowdown':>9}  promised"
            )
            _commands(folder, products, asked.repeat)
            _batches(folder, products, sizes, peer_sizes, asked.repeat)
            _serving(folder / "flows" / "three_nodes", products, asked.seconds)
        finally:
            for product in products:
                if isinstance(product, Promptflow):
                    product.close()


def _commands(folder: Path, products: list[Studiolo | Promptflow], repeat: int) -> None:
    flow = folder / "flows" / "three_nodes"
    for title in ("--version", "flow test, 3 nodes"):
        for product in products:
            command = product.version() if title == "--version" else product.flow_test(flow)
            measure(command, product.environment(), product.home)
            _row(title, product, 0, [command] * repeat)


def _batches(
    folder: Path, products: list[Studiolo | Promptflow], sizes: list[int], peer_sizes: list[int], repeat: int
) -> None:
    columns = ["text=${data.text}", "n=${data.n}"]
    for title, flow, count, mapping in (
        *((f"{size:,} lines x 3 nodes", "three_nodes", size, columns) for size in sizes),
        (SLEEP, "sleep", 500, columns[:1]),
        (ASYNC, "sleep_async", 500, columns[:1]),
    ):
        data = rows(folder / f"rows{count}.jsonl", count)
        for product in products:
            if isinstance(product, Promptflow) and count > max(peer_sizes):
                continue
            once = isinstance(product, Promptflow) or count > 10_000
            again = range(1 if once else repeat)
            _row(title, product, count, [product.batch(folder / "flows" / flow, data, mapping) for _ in again])


def _row(title: str, product: Studiolo | Promptflow, count: int, commands: list[list[str]]) -> None:
    slow = flow_serve.slowdown()
    found = [measure(command, product.environment(), product.home) for command in commands]
    middle = sorted(found, key=lambda each: each.seconds)[len(found) // 2]
    rate = f"{count / middle.seconds:,.0f}" if count else ""
    _print(title, product, f"{middle.seconds:8.2f}{middle.cpu:7.2f}{rate:>8}{middle.memory / 2**20:6.0f}"
           f"{middle.files:7}{slow:9.2f}")  # fmt: skip


def _serving(flow: Path, products: list[Studiolo | Promptflow], seconds: float) -> None:
    for product in products:
        slow = flow_serve.slowdown()
        with flow_serve.served(product.serve(flow), product.environment()) as (port, process, _):
            before = flow_serve.cpu_of(process)
            found = flow_serve.load_beside(port, clients=8, seconds=seconds)
            spent, memory = flow_serve.cpu_of(process) - before, flow_serve.rss_of(process)
        _print(SERVE, product, f"{seconds:8.2f}{spent:7.2f}{found['rate']:8,.0f}{memory:6.0f}{'':7}{slow:9.2f}")


def _print(title: str, product: Studiolo | Promptflow, figures: str) -> None:
    promised = PROMISED.get(title, "") if isinstance(product, Studiolo) else ""
    print(f"{title:32}{product.name:11}{figures}  {promised}".rstrip(), flush=True)


def _files(folder: Path) -> int:
    return sum(1 for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    main()

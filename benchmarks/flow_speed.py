"""Prompt flow command lines side by side: lines per second, CPU seconds, memory and files of `studiolo` and `pf`.

    python benchmarks/flow_speed.py                            # ours alone
    python benchmarks/flow_speed.py --peer VENV/bin            # beside a promptflow in its own virtual environment

The two are run in turn, each command in a fresh home, on the same flows (benchmarks/flows) and rows. `--sizes` are the
lines of the three-node flow. CPU seconds are those of the whole process tree; memory is the largest sum of its
proportional set sizes. Set the peer up with `pip install promptflow==1.18.5 keyrings.alt`.
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

import psutil

HERE = Path(__file__).resolve().parent


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


class Studiolo(Product):
    """Ours, from the environment that runs this script."""

    command = [str(Path(sys.executable).parent / "studiolo")]

    def environment(self) -> dict[str, str]:
        return os.environ | {"STUDIOLO_HOME": str(self.home / "home")}

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
        return os.environ | {
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


def rows(path: Path, count: int) -> Path:
    """Write rows for the flows."""
    with path.open("w") as file:
        for number in range(count):
            file.write(json.dumps({"text": f" Row number {number} of the DATA ", "n": number}) + "\n")
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=Path, help="the bin folder of a virtual environment with promptflow")
    parser.add_argument("--sizes", default="1000,10000", help="lines of the three-node flow")
    parser.add_argument("--peer-sizes", default="1000", help="those of them that the peer runs as well")
    parser.add_argument("--repeat", type=int, default=3, help="the median of so many")
    asked = parser.parse_args()
    sizes, peer_sizes = ([int(size) for size in text.split(",")] for text in (asked.sizes, asked.peer_sizes))
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        shutil.copytree(HERE / "flows", folder / "flows")
        products: list[Studiolo | Promptflow] = [Studiolo("studiolo", folder)]
        if asked.peer:
            products.append(Promptflow(folder, asked.peer.absolute()))
        try:
            _table(folder, products, sizes, peer_sizes, asked.repeat)
        finally:
            for product in products:
                if isinstance(product, Promptflow):
                    product.close()


def _table(
    folder: Path, products: list[Studiolo | Promptflow], sizes: list[int], peer_sizes: list[int], repeat: int
) -> None:
    three, mapping = folder / "flows" / "three_nodes", ["text=${data.text}", "n=${data.n}"]
    print(f"{'':34}{'':12}{'seconds':>9}{'CPU s':>8}{'lines/s':>9}{'MiB':>7}{'files':>8}")
    for title, flow, count, columns in (
        ("--version", None, 0, []),
        ("flow test, 3 nodes", three, 0, []),
        *((f"{size:,} lines x 3 nodes", three, size, mapping) for size in sizes),
        ("500 lines x 100 ms sleep", folder / "flows" / "sleep", 500, mapping[:1]),
        ("500 lines x 100 ms sleep, async", folder / "flows" / "sleep_async", 500, mapping[:1]),
    ):
        data = rows(folder / f"rows{count}.jsonl", count) if count else None
        for product in products:
            if isinstance(product, Promptflow) and count > max(peer_sizes):
                continue
            found = []
            for _ in range(repeat if count <= 1000 else 1):
                if flow is None:
                    command = product.version()
                elif data is None:
                    command = product.flow_test(flow)
                else:
                    command = product.batch(flow, data, list(columns))
                found.append(measure(command, product.environment(), product.home))
            middle = sorted(found, key=lambda each: each.seconds)[len(found) // 2]
            rate = f"{count / middle.seconds:,.0f}" if count else ""
            print(
                f"{title:34}{product.name:12}{middle.seconds:9.2f}{middle.cpu:8.2f}{rate:>9}"
                f"{middle.memory / 2**20:7.0f}{middle.files:8}",
                flush=True,
            )


def _files(folder: Path) -> int:
    return sum(1 for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    main()

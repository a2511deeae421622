"""What a model may run on: this machine's memory and GPUs, or a well-known device by its name."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from ruamel.yaml import YAML

from workspace.errors import NotFound, did_you_mean

TABLE = Path(__file__).with_name("devices.yaml")
CPU = "cpu"
PATIENCE = 5.0  # seconds for nvidia-smi
# Of a core: what its memory gives it at most and what it multiplies, from the slowest to the fastest of today's.
CORE_BANDWIDTH = (4e9, 15e9)  # bytes a second
CORE_ARITHMETIC = (2e10, 1.5e11)
MOST_BANDWIDTH = 3e11  # of all cores together
_CGROUP = Path("/sys/fs/cgroup/memory.max")


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """Bytes of memory in all and free, bytes a second, operations a second; ranges where it is not known exactly."""

    name: str
    memory: int
    free: int
    bandwidth: tuple[float, float]
    arithmetic: tuple[float, float]
    source: str = ""

    @property
    def is_gpu(self) -> bool:
        """Whether weights lie in a memory of their own."""
        return self.name != CPU


def known() -> list[Device]:
    """Return the devices of the table."""
    return [_of_row(row) for row in YAML(typ="safe").load(TABLE)]


def named(name: str) -> Device:
    """Return a device by name, `cpu` for this machine's: `named("h100").memory == 80_000_000_000`."""
    if name.casefold() == CPU:
        return processor()
    devices = {each.name.casefold(): each for each in known()}
    wanted = name.casefold().replace(" ", "-").replace("_", "-")
    if wanted not in devices:
        raise NotFound(f"no device {name!r} is known", hint=did_you_mean(wanted, [*devices, CPU]))
    return devices[wanted]


def here() -> list[Device]:
    """Return this machine's GPUs, then its processor."""
    return [*_gpus(), processor()]


def processor() -> Device:
    """Return what this machine or container may use."""
    cores = psutil.cpu_count(logical=False) or psutil.cpu_count() or 1
    memory = psutil.virtual_memory()
    most = _limit() or int(memory.total)
    low, high = (min(cores * each, MOST_BANDWIDTH) for each in CORE_BANDWIDTH)
    slow, fast = (cores * each for each in CORE_ARITHMETIC)
    return Device(
        name=CPU, memory=min(int(memory.total), most), free=min(int(memory.available), most),
        bandwidth=(low, high), arithmetic=(slow, fast), source=f"{cores} cores of this machine",
    )  # fmt: skip


def _limit() -> int:
    try:
        return int(_CGROUP.read_text())
    except (OSError, ValueError):
        return 0  # "max": there is no limit


def _gpus() -> list[Device]:
    if not shutil.which("nvidia-smi"):
        return []
    command = ["nvidia-smi", "--query-gpu=name,memory.total,memory.free", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [found for line in done.stdout.splitlines() if (found := _of_line(line))]


def _of_line(line: str) -> Device | None:
    """Return a GPU as nvidia-smi tells it, its speed from the table where one of that name stands there."""
    name, _, rest = line.partition(",")
    total, _, free = rest.partition(",")
    if not (total.strip().isdecimal() and free.strip().isdecimal()):
        return None
    words = name.strip().removeprefix("NVIDIA ").removeprefix("GeForce ").replace(" ", "-").casefold()
    alike = next((each for each in known() if words.startswith(each.name.casefold())), None)
    return Device(
        name=name.strip(), memory=int(total) * 2**20, free=int(free) * 2**20,
        bandwidth=alike.bandwidth if alike else (2e11, 5e12), arithmetic=alike.arithmetic if alike else (3e13, 1e15),
        source="nvidia-smi" + (f"; {alike.source}" if alike else ""),
    )  # fmt: skip


def _of_row(row: dict[str, Any]) -> Device:
    memory, bandwidth, arithmetic = int(row["memory"] * 10**9), row["bandwidth"] * 1e9, row["arithmetic"] * 1e12
    return Device(
        name=row["name"], memory=memory, free=memory, bandwidth=(bandwidth, bandwidth),
        arithmetic=(arithmetic, arithmetic), source=row["source"],
    )  # fmt: skip

"""How much memory this machine, or its GPU, has left for another engine; nothing is imported that would take some."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import psutil

from serving.engines.launch import CUDA

PATIENCE = 5.0  # seconds for nvidia-smi
_CGROUP = Path("/sys/fs/cgroup")


def free(device: str) -> int:
    """Return the bytes that nobody uses: of the GPUs together, or of what this machine or container may use."""
    if device == CUDA:
        return sum(_asked("memory.free"))
    return min(int(psutil.virtual_memory().available), _free_of_container())


def total_of_gpu() -> int:
    """Return the bytes of the smallest GPU; 0 where there is none."""
    return min(_asked("memory.total"), default=0)


def _asked(what: str) -> list[int]:
    if not shutil.which("nvidia-smi"):
        return []
    command = ["nvidia-smi", f"--query-gpu={what}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [int(line) * 2**20 for line in done.stdout.split() if line.isdecimal()]


def _free_of_container(folder: Path = _CGROUP) -> int:
    most, used = _number(folder / "memory.max"), _number(folder / "memory.current")
    if most is None or used is None:
        return 2**63
    return max(0, most - used + _reclaimable(folder / "memory.stat"))


def _reclaimable(stat: Path) -> int:
    """The file cache that the kernel gives up when somebody needs the memory."""
    try:
        rows = dict(line.split() for line in stat.read_text().splitlines())
    except (OSError, ValueError):
        return 0
    return int(rows.get("inactive_file", 0))


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None  # "max": there is no limit

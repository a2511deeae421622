"""What a job takes while it runs: CPU, memory, GPUs, energy. A line every few seconds, and sums that it is charged."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jobs.gpus import Gpus
from jobs.leftovers import descendants
from jobs.logs import FULL

FIRST, EVERY = 1.0, 5.0  # seconds: the first look, and those that follow
POWERCAP = Path("/sys/class/powercap")
_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(slots=True)
class Sums:
    """What was charged so far."""

    cpu_seconds: float = 0.0  # of processes that have ended and were waited for
    peak_memory: int = 0  # bytes
    gpu_seconds: float = 0.0  # busy seconds
    peak_gpu_memory: int = 0
    joules: float = 0.0  # of processors and GPUs, where they tell

    def plain(self, seconds: float) -> dict[str, float]:
        """Return what is known of them."""
        found = {
            "seconds": seconds, "cpu_seconds": self.cpu_seconds, "peak_memory": self.peak_memory,
            "gpu_seconds": self.gpu_seconds, "peak_gpu_memory": self.peak_gpu_memory, "joules": self.joules,
        }  # fmt: skip
        always = ("seconds", "cpu_seconds", "peak_memory")
        return {key: round(value, 3) for key, value in found.items() if value or key in always}


@dataclass(slots=True)
class _Energy:
    """Joules that the processors have taken since the last look."""

    folder: Path = POWERCAP
    last: dict[str, int] = field(default_factory=dict)

    def since(self) -> float:
        total = 0.0
        for zone in sorted(self.folder.glob("intel-rapl:[0-9]*")) if self.folder.exists() else ():
            if zone.name.count(":") > 1:
                continue  # a part of one that is counted whole
            try:
                now, most = int((zone / "energy_uj").read_text()), int((zone / "max_energy_range_uj").read_text())
            except (OSError, ValueError):
                continue  # only root may read it on most machines
            before = self.last.get(zone.name, now)
            total += (now - before if now >= before else now + most - before) / 1e6
            self.last[zone.name] = now
        return total


class Sampler:
    """Looks at the descendants of this process and charges the job with what they take."""

    def __init__(self, path: Path, devices: Sequence[str] = (), *, powercap: Path = POWERCAP) -> None:
        self.sums = Sums()
        self._path = path
        self._devices = devices
        self._gpus: Gpus | None = None
        self._energy = _Energy(powercap)
        self._energy.since()
        self._began = self._looked = time.monotonic()
        self._machine = _machine_seconds()
        self._cpu = 0.0
        self._joules: dict[int, float] = {}

    def reaped(self, usage: Any) -> None:
        """Charge a process that has ended, by what the kernel counted for it and those it waited for."""
        self.sums.cpu_seconds += usage.ru_utime + usage.ru_stime
        self.sums.peak_memory = max(self.sums.peak_memory, usage.ru_maxrss * 1024)

    def look(self) -> None:
        """Take one sample. It also shows that the shim lives."""
        now = time.monotonic()
        elapsed, self._looked = now - self._looked, now
        processes = descendants(os.getpid())
        cpu, memory = _taken(processes)
        cpu += self.sums.cpu_seconds
        self.sums.peak_memory = max(self.sums.peak_memory, memory)
        sample: dict[str, Any] = {"at": round(time.time(), 3), "monotonic": round(now, 3)}
        sample |= {"processes": len(processes), "cpu_seconds": round(cpu, 2), "memory": memory}
        sample |= self._charge_energy(cpu) | self._charge_gpus(processes, elapsed)
        _append(self._path, json.dumps(sample).encode() + b"\n")

    def end(self) -> Mapping[str, float]:
        """Return what the whole attempt has taken."""
        self._charge_energy(self.sums.cpu_seconds)
        if self._gpus is not None:
            self._gpus.close()
            self._gpus = None
        return self.sums.plain(time.monotonic() - self._began)

    def _charge_energy(self, cpu: float) -> dict[str, float]:
        joules = self._energy.since()
        machine = _machine_seconds()
        worked, self._machine = machine - self._machine, machine
        own, self._cpu = cpu - self._cpu, cpu
        if joules <= 0 or worked <= 0:
            return {}
        charged = joules * min(1.0, max(0.0, own) / worked)
        self.sums.joules += charged
        return {"joules": round(charged, 3)}

    def _charge_gpus(self, processes: Sequence[int], elapsed: float) -> dict[str, Any]:
        if self._gpus is None:
            self._gpus = Gpus(self._devices)
        found = self._gpus.look(set(processes))
        if not found:
            return {}
        for gpu in found:
            self.sums.gpu_seconds += gpu.busy * gpu.share * elapsed
            self.sums.joules += max(0.0, gpu.joules - self._joules.get(gpu.index, gpu.joules)) * gpu.share
            self._joules[gpu.index] = gpu.joules
        memory = sum(gpu.memory for gpu in found)
        self.sums.peak_gpu_memory = max(self.sums.peak_gpu_memory, memory)
        return {"gpus": {str(gpu.index): round(gpu.busy, 2) for gpu in found}, "gpu_memory": memory}


def _append(path: Path, line: bytes) -> None:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            os.write(handle, line)
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno not in FULL:  # a full disk costs samples, not the job
            raise


def _taken(processes: Sequence[int]) -> tuple[float, int]:
    """Return the CPU seconds and the memory of living processes, with those they have waited for."""
    cpu, memory = 0, 0
    for pid in processes:
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123
                fields = file.read().rpartition(b")")[2].split()
        except OSError:
            continue  # it has ended since; its end is counted
        cpu += sum(int(fields[place]) for place in (11, 12, 13, 14))
        memory += int(fields[21]) * _PAGE
    return cpu / _TICK, memory


def _machine_seconds() -> float:
    """Return how many seconds all processors together have worked since boot."""
    fields = Path("/proc/stat").read_text().partition("\n")[0].split()[1:]
    return sum(int(value) for place, value in enumerate(fields[:8]) if place not in (3, 4)) / _TICK

"""What a job takes of NVIDIA's GPUs, as their driver tells it; nothing where there is none."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DRIVER = Path("/proc/driver/nvidia")
MARKER = "gpu"


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuUse:
    """What one GPU does for a job now: how busy it is for it, its memory, and joules since the driver was loaded."""

    index: int
    busy: float  # 0 to 1
    memory: int  # bytes
    joules: float
    share: float  # the part of it that is this job's: its processes among all


class Gpus:
    """The driver, while a job runs. `devices` are GPUs that are the job's alone, as CUDA_VISIBLE_DEVICES names them."""

    def __init__(self, devices: Sequence[str] = ()) -> None:
        self._nvml: Any = None
        self._handles: list[Any] = []
        self._alone = set(devices)
        if not DRIVER.exists():
            return
        import pynvml

        with suppress(pynvml.NVMLError):  # a driver without its library, as in some containers
            pynvml.nvmlInit()
            self._nvml = pynvml
            count = pynvml.nvmlDeviceGetCount()
            self._handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(count)]

    def look(self, processes: Collection[int]) -> list[GpuUse]:
        """Return the GPUs that these processes use, or that were given to the job alone."""
        found = []
        for index, handle in enumerate(self._handles):
            with suppress(self._nvml.NVMLError):  # a GPU that does not tell is none that can be charged
                use = self._use(index, handle, processes)
                if use.share > 0:
                    found.append(use)
        return found

    def close(self) -> None:
        """Let go of the driver: it does not live through a fork."""
        if self._nvml is not None:
            self._nvml.nvmlShutdown()
            self._nvml, self._handles = None, []

    def _use(self, index: int, handle: Any, processes: Collection[int]) -> GpuUse:
        running = self._nvml.nvmlDeviceGetComputeRunningProcesses(handle)
        own = [each for each in running if each.pid in processes]
        is_alone = not self._alone.isdisjoint((str(index), self._uuid(handle)))
        share = 1.0 if is_alone else len(own) / len(running) if running else 0.0
        used = self._nvml.nvmlDeviceGetMemoryInfo(handle).used if is_alone else sum(p.usedGpuMemory or 0 for p in own)
        return GpuUse(
            index=index,
            busy=self._nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100,
            memory=int(used),
            joules=self._joules(handle),
            share=share,
        )

    def _joules(self, handle: Any) -> float:
        try:
            return float(self._nvml.nvmlDeviceGetTotalEnergyConsumption(handle)) / 1000
        except self._nvml.NVMLError:  # older GPUs do not count
            return 0.0

    def _uuid(self, handle: Any) -> str:
        name = self._nvml.nvmlDeviceGetUUID(handle)
        return name.decode() if isinstance(name, bytes) else str(name)

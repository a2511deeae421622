"""What a job needs of this machine, and what the machine has: cores, GPUs, memory."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workspace.errors import Invalid
from workspace.settings import Settings

PRIORITIES = {"high": -1, "medium": 0, "low": 1}  # the least goes first
DRIVER = Path("/proc/driver/nvidia/gpus")
_UNITS = {"": 1, "b": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
_SIZE = re.compile(r"([\d.]+)\s*([bkmgt]?)(?:i?b)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What is taken while a job runs. A job that asks for no GPU sees those that are nobody's alone."""

    cpus: float = 1.0
    gpus: int = 0
    memory: int = 0  # bytes

    def fits(self, room: Needs) -> bool:
        """Whether this is to be had where `room` is free."""
        return self.cpus <= room.cpus and self.gpus <= room.gpus and self.memory <= room.memory

    def less(self, taken: Needs) -> Needs:
        """Return what is left when something is taken away; below nothing there is nothing."""
        return Needs(
            cpus=max(0.0, self.cpus - taken.cpus),
            gpus=max(0, self.gpus - taken.gpus),
            memory=max(0, self.memory - taken.memory),
        )


@dataclass(frozen=True, slots=True)
class Capacity:
    """What all jobs of a machine may take together; `devices` are the GPUs as CUDA_VISIBLE_DEVICES names them."""

    cpus: float
    memory: int
    devices: tuple[str, ...] = ()

    @property
    def room(self) -> Needs:
        """All of it."""
        return Needs(cpus=self.cpus, gpus=len(self.devices), memory=self.memory)

    @classmethod
    def of(cls, settings: Settings, *, visible: str | None = None) -> Capacity:
        """Return what this machine has, or what the settings say; `visible` is CUDA_VISIBLE_DEVICES."""
        return cls(
            float(settings.job_cpus or len(os.sched_getaffinity(0))),
            settings.job_memory * 2**20 or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            tuple(each.strip() for each in visible.split(",") if each.strip()) if visible is not None else _devices(),
        )

    def without(self, held: Sequence[Sequence[str]]) -> tuple[str, ...]:
        """Return the GPUs that no job has for itself."""
        taken = {device for each in held for device in each}
        return tuple(device for device in self.devices if device not in taken)

    def check(self, needs: Needs) -> None:
        """Raise Invalid where a job would wait for ever."""
        for what, asked, here in (
            ("CPUs", needs.cpus, self.cpus),
            ("GPUs", needs.gpus, len(self.devices)),
            ("bytes of memory", needs.memory, self.memory),
        ):
            if asked > here:
                hint = "ask for less under `resources.properties`, or set STUDIOLO_JOB_CPUS and STUDIOLO_JOB_MEMORY"
                raise Invalid(f"the job needs {asked:g} {what}, and there are {here:g}", hint=hint)


def needs_of(properties: Mapping[str, Any]) -> Needs:
    """Read `resources.properties` of a job: `{"cpus": 2, "gpus": 1, "memory": "4g"}`."""
    return Needs(
        cpus=_number(properties, "cpus", 1.0),
        gpus=int(_number(properties, "gpus", 0)),
        memory=size(properties["memory"]) if properties.get("memory") is not None else 0,
    )


def size(written: Any) -> int:
    """Return a size in bytes: `size("4g") == 4294967296`."""
    found = _SIZE.fullmatch(str(written).strip())
    if found is None:
        raise Invalid(f"{written!r} is no size", hint="4g, 500m or a number of bytes")
    return int(float(found[1]) * _UNITS[found[2].lower()])


def devices_for(needs: Needs, capacity: Capacity, taken: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Return the GPUs that a job gets for itself."""
    return capacity.without(taken)[: needs.gpus]


def _number(properties: Mapping[str, Any], name: str, default: float) -> float:
    value = properties.get(name, default)
    try:
        found = float(value)
    except (TypeError, ValueError):
        raise Invalid(f"`{name}` must be a number, not {value!r}") from None
    if found < 0:
        raise Invalid(f"`{name}` cannot be {value!r}")
    return found


def _devices() -> tuple[str, ...]:
    # The order in which CUDA numbers them by default may differ; each is still one GPU, and named once.
    try:
        return tuple(str(number) for number, _ in enumerate(sorted(DRIVER.iterdir())))
    except FileNotFoundError:
        return ()

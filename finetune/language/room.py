"""The memory of a training: how many tokens may be at once, and what would take less where too many are.

The formulas are the catalog's (`docs/fit.md`); here is what our recipes do: rows without padding, logits of some
tokens at a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from catalog.fit import config as fit_config
from catalog.fit.training import ALL_LINEAR, TrainingMemory, Tuning, memory
from finetune.language.spec import AUTO, TuneJob

OVERHEAD = 900 * 2**20  # of the process itself: Python, torch, TRL, what the allocator holds
SCORED = 2**26  # bytes of logits at once, as `head.py` has it
FEWEST = 64  # tokens at once, below which nothing is gained


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way of training, and the bytes that it takes."""

    tokens_at_once: int
    checkpointing: bool
    precision: str
    memory: TrainingMemory

    @property
    def total(self) -> int:
        """All bytes of it."""
        return self.memory.total


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What there is: bytes, and the way that is fastest within them (None: there is none)."""

    available: int
    wanted: Way
    fitting: Way | None


def room(job: TuneJob, config: Mapping[str, Any], *, longest: int, precision: str, fastest: int, free: int) -> Room:
    """Return the way that the file asks for, and the fastest that fits into so many free bytes."""
    asked = fastest if job.tokens_at_once == AUTO else int(job.tokens_at_once)
    checkpointing = job.gradient_checkpointing
    first = way(job, config, max(asked, longest), precision, checkpointing=checkpointing is True)
    if first.total <= free:
        return Room(available=free, wanted=first, fitting=first)
    for computed_twice in (False, True) if checkpointing == AUTO else (bool(checkpointing),):
        tokens = asked
        while tokens >= FEWEST:
            found = way(job, config, max(tokens, longest), precision, checkpointing=computed_twice)
            if found.total <= free:
                return Room(available=free, wanted=first, fitting=found)
            tokens //= 2
    return Room(available=free, wanted=first, fitting=None)


def way(job: TuneJob, config: Mapping[str, Any], tokens: int, precision: str, *, checkpointing: bool) -> Way:
    """Return what it takes to train so many tokens at once."""
    shape = fit_config.shape(config)
    adapter = job.adapter
    sequences = 2 if job.is_preference else 1  # the better answer and the worse one
    tuning = Tuning(
        adapter=adapter.kind,
        rank=adapter.rank,
        targets=adapter.targets or (ALL_LINEAR,),
        batch=sequences,
        tokens=tokens,
        dtype=precision,
        weights="float32" if job.is_full else precision,
        trained="float32",
        optimizer="adamw_torch",
        checkpointing=checkpointing,
        dropout=adapter.dropout,
        logits=0 if job.is_preference else max(1, SCORED // (4 * max(1, shape.vocabulary))),
    )
    found = memory(shape, tuning, overhead=OVERHEAD)
    return Way(tokens_at_once=tokens, checkpointing=checkpointing, precision=precision, memory=found)


def proposal(job: TuneJob, config: Mapping[str, Any], found: Room) -> str:
    """Return the next smaller setting, with numbers."""
    less: list[str] = []
    if found.fitting is not None:
        less += [f"tokens_at_once={found.fitting.tokens_at_once}"]
        less += ["gradient_checkpointing=true"] * found.fitting.checkpointing
        told, size = " ".join(f"--set {each}" for each in less), found.fitting.total
    else:
        shorter = max(FEWEST, job.max_length // 2)
        smallest = way(job, config, shorter, found.wanted.precision, checkpointing=True)
        told, size = f"--set max_length={shorter} --set gradient_checkpointing=true", smallest.total
        if job.is_full:
            told, size = "--set adapter.kind=lora", _as_lora(job, config, shorter, found.wanted.precision)
    return f"{told} takes about {gib(size)}; this takes {gib(found.wanted.total)}, and {gib(found.available)} are free"


def gib(size: float) -> str:
    """Return bytes for people: `gib(3 * 2**29) == "1.5 GiB"`."""
    return f"{size / 2**30:.1f} GiB"


def _as_lora(job: TuneJob, config: Mapping[str, Any], tokens: int, precision: str) -> int:
    from dataclasses import replace

    small = replace(job, adapter=replace(job.adapter, kind="lora"))
    return way(small, config, tokens, precision, checkpointing=True).total


def free_bytes(limit: int = 0) -> int:
    """Return the bytes that are free: of the GPU where there is one, of the machine, within a limit."""
    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.mem_get_info()[0])
    import psutil

    free = int(psutil.virtual_memory().available)
    return min(free, limit) if limit else free

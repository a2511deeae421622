"""What `auto` comes to: on this machine, for this model and these rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from finetune.language.spec import AUTO, TuneJob

if TYPE_CHECKING:
    from finetune.language.room import Way

FEWEST_STEPS = 25  # in an epoch, from where on a larger batch would leave too little to learn by
LARGEST_BATCH = 16
AT_ONCE = {"cpu": 512, "cuda": 8192}  # tokens, more of which bring no speed


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """Every choice as a number; `memory` is what it should take, in bytes."""

    precision: str
    batch_size: int
    steps: int
    warmup: int
    tokens_at_once: int
    checkpointing: bool
    save_every: int
    validate_every: int
    sample_every: int
    memory: int


def decide(job: TuneJob, lengths: Sequence[int], *, precision: str, way: Way) -> Decided:
    """Return what a training file comes to, for rows of these lengths and what fits into memory."""
    processes = job.distributed.processes
    rows = len(lengths)
    batch = int(job.batch_size) if job.batch_size != AUTO else _batch(rows, job.accumulation * processes)
    each = math.ceil(math.ceil(rows / (batch * processes)) / job.accumulation)
    steps = job.steps or max(1, round(job.epochs * each))
    tenth = max(1, steps // 10)
    validate = tenth if job.evaluate_every == AUTO else int(job.evaluate_every)
    save = max(5, tenth) if job.checkpoints.every == AUTO else int(job.checkpoints.every)
    return Decided(
        precision=precision,
        batch_size=batch,
        steps=steps,
        warmup=math.ceil(job.warmup if job.warmup >= 1 else job.warmup * steps),
        tokens_at_once=way.tokens_at_once,
        checkpointing=way.checkpointing,
        save_every=validate if job.early_stopping.patience else save,
        validate_every=validate,
        sample_every=max(1, steps // 5) if job.samples.every == AUTO else int(job.samples.every),
        memory=way.total,
    )


def precision_of(job: TuneJob, *, fast: bool) -> str:
    """Return the numbers that are computed with."""
    if job.precision != AUTO:
        return job.precision
    return "bfloat16" if fast else "float32"


def fast_at_bfloat16() -> tuple[str, bool]:
    """Return what this machine computes with, and whether it is fast at bfloat16."""
    import torch

    if torch.cuda.is_available():
        return "cuda", torch.cuda.is_bf16_supported()
    told: Any = torch.cpu
    return "cpu", bool(told._is_avx512_bf16_supported() or told._is_amx_tile_supported())


def _batch(rows: int, factor: int) -> int:
    size = LARGEST_BATCH
    while size > 1 and rows / (size * factor) < FEWEST_STEPS:
        size //= 2
    return size

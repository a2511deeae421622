"""What a training will take - memory, time, money - before it takes it; and what would take less."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from catalog.fit import config as fit_config
from finetune.language import loading, room
from finetune.language.decided import AT_ONCE, decide, fast_at_bfloat16, precision_of
from finetune.language.given import Given
from finetune.language.spec import LANGUAGE, TuneJob
from studiolo.tuning.azure import as_tuning
from studiolo.tuning.bases import base_of
from studiolo.tuning.listing import trainings
from workspace.errors import Invalid

if TYPE_CHECKING:
    from jobs.files.command import Job
    from workspace.home import Workspace

_SHARE = 0.6  # of what a bare product of matrices reaches, a training does
_LOOKED_AT = 50  # earlier trainings


def planned(workspace: Workspace, given_job: Job) -> dict[str, Any]:
    """Return what a training would take, reading its rows and the base's configuration, and training nothing."""
    job = as_tuning(given_job)
    if job.method not in LANGUAGE:
        raise Invalid(f"there is no plan of {job.method}", hint=f"of {', '.join(LANGUAGE)} there is")
    base = base_of(workspace, job.base, job.folder)
    with tempfile.TemporaryDirectory() as folder:
        given = _given(workspace, job, workspace.assets.path(base), base.name, Path(folder))
        lengths = _lengths(given)
    config = loading.config_of(given.base)
    device, fast = fast_at_bfloat16()
    precision = precision_of(job, fast=fast)
    found = room.room(
        job, config, longest=max(lengths), precision=precision, fastest=AT_ONCE[device], free=room.free_bytes()
    )
    made = decide(job, lengths, precision=precision, way=found.fitting or found.wanted)
    speed, how = _speed(workspace, job, base.ref, config)
    processes = job.distributed.processes
    seen = sum(lengths) * made.steps * made.batch_size * job.accumulation * processes / len(lengths)
    seconds = seen / speed
    return {
        "base": base.ref, "method": job.method, "adapter": job.adapter.kind, "device": device,
        "rows": len(lengths), "tokens": sum(lengths), "longest": max(lengths), "trained_tokens": round(seen),
        "steps": made.steps, "batch_size": made.batch_size, "tokens_at_once": made.tokens_at_once,
        "gradient_checkpointing": made.checkpointing, "precision": precision,
        "memory": {name: getattr(found.wanted.memory, name) for name in _PARTS} | {"total": found.wanted.total},
        "available": found.available, "fits": found.wanted.total <= found.available,
        "instead": "" if found.fitting is found.wanted else room.proposal(job, config, found),
        "tokens_per_second": round(speed, 1), "speed": how, "seconds": round(seconds),
        "cost": None if job.price_per_hour is None else round(seconds / 3600 * job.price_per_hour, 4),
    }  # fmt: skip


_PARTS = ("weights", "adapters", "gradients", "optimizer", "activations", "logits", "overhead")


def words(plan: Mapping[str, Any]) -> str:
    """Return it for people."""
    memory = plan["memory"]
    parts = ", ".join(f"{name} {memory[name] / 2**20:.0f}" for name in _PARTS if memory[name])
    fits = "fits" if plan["fits"] else "DOES NOT FIT"
    cost = "" if plan["cost"] is None else f", {plan['cost']:g} at the price given"
    lines = [
        f"{plan['method']} of {plan['base']}, {plan['adapter']} in {plan['precision']} on {plan['device']}",
        f"{plan['rows']} rows, {plan['tokens']} tokens (the longest {plan['longest']}), {plan['steps']} steps of "
        f"{plan['batch_size']} rows",
        f"memory {room.gib(memory['total'])} of {room.gib(plan['available'])} free: {fits} ({parts} MiB)",
        f"time {_span(plan['seconds'])} at {plan['tokens_per_second']:g} tokens/s, {plan['speed']}{cost}",
    ]
    return "\n".join(lines + ([f"instead: {plan['instead']}"] if plan["instead"] else []))


def cheaper(given: Given) -> str:
    """Return the next smaller setting than the one that was killed for its memory, with numbers."""
    job = given.job
    config = loading.config_of(given.base)
    _, fast = fast_at_bfloat16()
    precision = precision_of(job, fast=fast)
    wanted = room.way(job, config, job.max_length, precision, checkpointing=job.gradient_checkpointing is True)
    less = room.way(job, config, max(room.FEWEST, job.max_length // 4), precision, checkpointing=True)
    return room.proposal(job, config, room.Room(available=room.free_bytes(given.memory), wanted=wanted, fitting=less))


def _given(workspace: Workspace, job: TuneJob, base: Path, name: str, folder: Path) -> Given:
    from finetune.data.read import place

    found = place(workspace, job.data.path)
    validation = place(workspace, job.validation.path) if job.validation else None
    return Given(
        job=replace(job, output=None), base=base, base_name=name, data=found, validation=validation, work=folder,
        output=folder, threads=1,
    )  # fmt: skip


def _lengths(given: Given) -> list[int]:
    from finetune.data.encode import Encoding, encode
    from finetune.language.reading import rows_of

    rows, _ = rows_of(given)
    how = Encoding(train_on=given.job.train_on, max_length=given.job.max_length)
    batch = encode(rows, loading.tokenizer_of(given), how)
    pairs = [2 * len(each.prompt) + len(each.chosen) + len(each.rejected) for each in batch.pairs]
    verdicts = [len(each.prompt) + len(each.completion) for each in batch.verdicts]
    return [len(each) for each in batch.texts] + pairs + verdicts


def _speed(workspace: Workspace, job: TuneJob, base: str, config: Mapping[str, Any]) -> tuple[float, str]:
    """Return tokens a second: as the last such training here had them, or as a product of matrices lets hope."""
    for each in trainings(workspace, limit=_LOOKED_AT):
        params = workspace.runs.get(str(each.run_id)).params
        same = f"model:{params.get('base')}" == base and params.get("adapter") == job.adapter.kind
        if same and params.get("method") == job.method:
            values = [metric.value for metric in workspace.runs.metrics(str(each.run_id), "tokens_per_second")]
            if values:
                return statistics.median(values), f"as {each.name} had"
    shape = fit_config.shape(config)
    passes = 6 if job.is_full else 4  # a product forward, and one or two backward, of two operations a number
    return _SHARE * _operations() / (passes * max(1, shape.active)), "estimated from this machine's arithmetic"


def _operations() -> float:
    """Return operations a second, from a product of matrices of the size that trainings have."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    size = 4096 if device == "cuda" else 1024
    left = torch.randn(size, size, device=device, dtype=torch.bfloat16 if device == "cuda" else torch.float32)
    (left @ left).sum().item()
    began = time.perf_counter()
    for _ in range(4):
        result = left @ left
    result.sum().item()
    return float(4 * 2 * size**3 / (time.perf_counter() - began))


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"

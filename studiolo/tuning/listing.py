"""Which trainings there are, and how one went: what was chosen, the curve, what came out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jobs import records
from workspace.errors import NotFound, did_you_mean

if TYPE_CHECKING:
    from jobs.records import JobRecord
    from workspace.home import Workspace

KIND = "finetune"
_ALL = 1_000_000
_BARS = "▁▂▃▄▅▆▇█"
_WIDTH = 60  # of a curve


def trainings(workspace: Workspace, *, limit: int) -> list[JobRecord]:
    """Return the newest trainings first."""
    return [job for job in records.list_jobs(workspace, limit=_ALL) if job.kind == KIND][:limit]


def training(workspace: Workspace, name: str) -> JobRecord:
    """Return one training, by the name of its job."""
    job = records.get(workspace, name)
    if job.kind != KIND:
        known = [each.name for each in trainings(workspace, limit=50)]
        raise NotFound(f"{name!r} is a job of kind {job.kind}, and no training", hint=did_you_mean(name, known))
    return job


def shown(workspace: Workspace, name: str) -> dict[str, Any]:
    """Return what is to be seen of a training."""
    job = training(workspace, name)
    run = workspace.runs.get(str(job.run_id))
    curves = {key: _curve(workspace, run.run_id, key) for key in ("loss", "validation_loss", "learning_rate")}
    speed = [value for _, value in _curve(workspace, run.run_id, "tokens_per_second")]
    memory = [value for _, value in _curve(workspace, run.run_id, "memory")]
    return {
        "name": job.name, "status": job.status, "error": job.error, "run": run.run_id, "chosen": dict(run.params),
        "model": run.tags.get("studiolo.model", "").removeprefix("model:"), "seconds": _seconds(job),
        "steps": max((step for step, _ in curves["loss"]), default=0),
        "tokens_per_second": sorted(speed)[len(speed) // 2] if speed else None,
        "memory": max(memory, default=None), "curves": curves,
        "samples": str(run.directory / "artifacts" / "outputs" / "samples.jsonl"),
    }  # fmt: skip


def words(found: Mapping[str, Any]) -> str:
    """Return it for people."""
    lines = [f"{found['name']}  {found['status']}{': ' + found['error'] if found['error'] else ''}"]
    lines.append("  ".join(f"{key}={value}" for key, value in found["chosen"].items()))
    for key, curve in found["curves"].items():
        if curve:
            lines.append(f"{key:16} {sparkline([value for _, value in curve])}  {curve[0][1]:.4g} → {curve[-1][1]:.4g}")
    if found["tokens_per_second"]:
        lines.append(f"{found['tokens_per_second']:.0f} tokens/s, {found['memory'] / 2**20:.0f} MiB at most")
    if found["model"]:
        lines.append(f"model {found['model']}")
    return "\n".join(lines)


def sparkline(values: Sequence[float]) -> str:
    """Return numbers as bars.

    >>> sparkline([3, 2, 1])
    '█▄▁'
    """
    each = max(1, -(-len(values) // _WIDTH))
    means = [sum(part) / len(part) for part in (values[at : at + each] for at in range(0, len(values), each))]
    low, high = min(means), max(means)
    if high == low:
        return _BARS[0] * len(means)
    return "".join(_BARS[int((value - low) / (high - low) * (len(_BARS) - 1))] for value in means)


def _curve(workspace: Workspace, run_id: str, key: str) -> list[tuple[int, float]]:
    return [(each.step, each.value) for each in workspace.runs.metrics(run_id, key)]


def _seconds(job: JobRecord) -> float | None:
    return None if job.started_at is None or job.ended_at is None else job.ended_at - job.started_at

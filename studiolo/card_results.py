"""What this workspace has measured of a model: the metrics of the evaluations that it answered."""

from __future__ import annotations

from evals import results
from workspace import Asset, Workspace

_STEPS = 2  # model → deployment or flow → evaluation
_NEWEST = 20  # evaluations


def measured(workspace: Workspace, model: Asset) -> list[tuple[str, str]]:
    """Return name and value of every metric, the newest evaluation of each task only."""
    nodes = {edge.target for edge in workspace.lineage.downstream(model, depth=_STEPS)}
    runs = [run for run in workspace.runs.list(kind="eval") if f"run:{run.run_id}" in nodes][:_NEWEST]
    found: dict[str, tuple[str, str]] = {}
    for run in runs:
        task = str(run.params.get("task") or run.name)
        for metric in results.read(run).metrics:
            bounds = metric.interval
            told = f"{bounds.estimate:.3f} ({bounds.low:.3f} to {bounds.high:.3f}), {metric.rows} rows, run {run.name}"
            found.setdefault(f"{task}: {metric.name}", (f"{task}: {metric.name}", told))
    return list(found.values())

"""`studiolo eval list` and `show`: the runs that were scored, and the rows of one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated

import typer

from evals import samples
from evals.reports import publish
from workspace import Workspace

AsJson = Annotated[bool, typer.Option("--json", help="Print data instead of words.")]


def list_command(limit: Annotated[int, typer.Option(help="How many.")] = 20, as_json: AsJson = False) -> None:
    """List scorings and comparisons, the newest first."""
    with Workspace.open() as workspace:
        records = [record for kind in ("eval", "comparison") for record in workspace.runs.list(kind=kind, limit=limit)]
    newest = sorted(records, key=lambda record: record.started_at, reverse=True)[:limit]
    rows = [
        {"name": r.name, "kind": r.kind, "status": r.status, "metrics": dict(r.metrics), "tags": dict(r.tags)}
        for r in newest
    ]
    if as_json:
        typer.echo(json.dumps(rows, default=str))
        return
    for record in newest:
        told = record.tags.get("verdict") or _rates(record.metrics)
        typer.echo(f"{record.name:<32} {record.kind:<11} {record.status:<9} {told}")


def show_command(
    run: Annotated[str, typer.Argument(help="A flow run or its scoring.")],
    failed: Annotated[bool, typer.Option(help="Only the rows that did not pass.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show every row of a scored RUN with its answer and scores."""
    with Workspace.open() as workspace:
        record = publish.scored(workspace, run)
        rows = samples.read(record.directory)
    for sample in rows:
        values = {name: result.value for name, result in sample.scores.items()}
        if failed and all(value == 1 for value in values.values()):
            continue
        if as_json:
            typer.echo(samples.as_line(sample), nl=False)
            continue
        marks = " ".join(f"{name}={'error' if value is None else f'{value:g}'}" for name, value in values.items())
        typer.echo(f"{sample.label:<12} {marks:<20} {sample.answer if sample.error is None else sample.error}")


def _rates(metrics: Mapping[str, float]) -> str:
    return " ".join(f"{name}={value:.3f}" for name, value in metrics.items() if not name.endswith((".low", ".high")))

"""`studiolo eval list`, `show` and `view`: the runs that were scored, the rows of one, and its page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from studiolo.commands.eval_options import AsJson

if TYPE_CHECKING:
    from evals.results import Result
    from evals.samples import Sample

_WIDTH = 100


def list_command(limit: Annotated[int, typer.Option(help="How many.")] = 20, as_json: AsJson = False) -> None:
    """List evaluations and comparisons, the newest first."""
    from workspace import Workspace

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
    run: Annotated[str, typer.Argument(help="An evaluation, or a flow run that was scored.")],
    sample: Annotated[str | None, typer.Option(help="One row, by its id or its number from 1: its transcript.")] = None,
    errors: Annotated[bool, typer.Option("--errors", help="Only rows without an answer or a score.")] = False,
    failed: Annotated[bool, typer.Option("--failed", help="Only the rows that did not pass.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what a RUN came to and how sure that is, then every row with its answer and scores."""
    from evals import results
    from evals.samples import as_line

    result = _result(run)
    if sample is not None:
        rows = tuple(results.sample(result, sample))
        if not as_json:
            for each in rows:
                _print_transcript(each)
            return
    else:
        rows = result.errors if errors else result.samples
        if not (as_json or errors or failed):
            for line in results.words(result.metrics):
                typer.echo(line)
    for each in rows:
        if failed and all(score.value == 1 for score in each.scores.values()):
            continue
        typer.echo(as_line(each), nl=False) if as_json else _print_row(each)


def view_command(
    run: Annotated[str, typer.Argument(help="An evaluation, or a flow run that was scored.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the page there, open nothing.")] = None,
) -> None:
    """Open a RUN as a page of its own: its metrics, and every row with its transcript, the worst first."""
    from evals.reports import run_page
    from workspace.paths import write_atomically

    record = _result(run).record
    where = output or record.directory / "artifacts" / "run.html"
    write_atomically(where, run_page.page(record), mode=0o644)
    typer.echo(f"wrote {where}")
    if output is None:
        typer.launch(str(where))


def _result(run: str) -> Result:
    from evals import results
    from evals.reports import sides
    from workspace import Workspace

    with Workspace.open() as workspace:
        return results.read(sides.scored(workspace, run))


def _print_row(each: Sample) -> None:
    values = {name: score.value for name, score in each.scores.items()}
    marks = " ".join(f"{name}={'error' if value is None else f'{value:g}'}" for name, value in values.items())
    label = each.label if each.epoch == 1 else f"{each.label} #{each.epoch}"
    trouble = each.error or next((score.error for score in each.scores.values() if score.error), None)
    told = " ".join((trouble or each.answer or "").split())
    typer.echo(f"{label:<12} {marks:<20} {told if len(told) <= _WIDTH else told[: _WIDTH - 1] + '…'}")


def _print_transcript(each: Sample) -> None:
    from evals import results

    spent = [f"{each.seconds:.2f} s"] if each.seconds is not None else []
    spent += [f"{each.tokens[0]} → {each.tokens[1]} tokens"] if each.tokens else []
    spent += [each.model] if each.model else []
    typer.echo(f"{each.label}, repeat {each.epoch}" + (f"  {' · '.join(spent)}" if spent else ""))
    for who, what in results.transcript(each):
        typer.echo(f"[{who}]\n{what}\n")


def _rates(metrics: Mapping[str, float]) -> str:
    hidden = (".low", ".high", "tokens.prompt", "tokens.completion")
    return " ".join(f"{name}={value:.3f}" for name, value in metrics.items() if not name.endswith(hidden))

"""`studiolo runs`: what was executed here."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from studiolo import open_workspace
from studiolo.commands.show import moment, print_json, print_table, span
from workspace.runs import RunRecord

app = typer.Typer(help="List runs and show one.")
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
SHOWN_METRICS = 3


@app.command("list")
def list_runs(
    kind: Annotated[str | None, typer.Option(help="flow, eval, job …")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many, newest first.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List runs, newest first."""
    with open_workspace() as workspace:
        found = workspace.runs.list(kind=kind, limit=limit)
    if as_json:
        print_json(found)
        return
    headings = ("run", "kind", "status", "started", "took", "metrics")
    rows = (
        (each.name, each.kind, each.status, moment(each.started_at), span(each.duration), _metrics(each))
        for each in found
    )
    print_table(headings, rows, right=("took",))


@app.command()
def show(
    run: Annotated[str, typer.Argument(help="A name, an id, or its first letters.")], as_json: AsJson = False
) -> None:
    """Show a run: its parameters, metrics, tags, environment and files."""
    with open_workspace() as workspace:
        record = workspace.runs.get(run)
    if as_json:
        print_json(record)
        return
    rows: list[tuple[str, Any]] = [
        ("run", record.name), ("id", record.run_id), ("kind", record.kind), ("status", record.status),
        ("started", moment(record.started_at)), ("took", span(record.duration)), ("error", record.error),
        ("folder", record.directory),
    ]  # fmt: skip
    for title, mapping in (("param", record.params), ("metric", record.metrics), ("tag", record.tags)):
        rows += [(f"{title} {key}", value) for key, value in mapping.items()]
    git = record.environment.get("git")
    if git:
        rows.append(("commit", f"{git['commit']}{' (changed since)' if git['dirty'] else ''}"))
    print_table(("", ""), [row for row in rows if row[1] is not None])


def _metrics(record: RunRecord) -> str:
    shown = list(record.metrics.items())[:SHOWN_METRICS]
    rest = len(record.metrics) - len(shown)
    return ", ".join(f"{key} {value:.4g}" for key, value in shown) + (f", and {rest} more" if rest > 0 else "")

"""`studiolo flow show, details, metrics, list, archive, restore, delete, visualize`: runs of flows, afterwards."""

from __future__ import annotations

import json
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import flows
import studiolo
from studiolo.commands.show import moment, print_json, print_table, span
from workspace.errors import Invalid

if TYPE_CHECKING:
    from workspace.runs import RunRecord

RunName = Annotated[str, typer.Argument(help="The run's name or id.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_WIDTH = 70


def show_command(
    run: RunName,
    as_json: AsJson = False,
    limit: Annotated[int, typer.Option(min=1, help="Show this many lines.")] = 20,
) -> None:
    """Show the lines of a run: inputs, outputs, errors, tokens, cost."""
    with studiolo.open_workspace() as workspace:
        record = workspace.runs.get(run)
    if as_json:
        for line in flows.lines(record):
            _, _, error, spent, paid, _ = line.summary()
            print(json.dumps({"line_number": line.number, "status": line.status, "inputs": line.inputs,
                              "outputs": line.outputs, "error": error, "tokens": sum(spent), "cost": paid},
                             ensure_ascii=False))  # fmt: skip
        return
    tokens = int(sum(record.metrics.get(f"tokens.{key}", 0) for key in ("prompt", "completion")))
    cost = record.metrics.get("cost")
    columns = ["line", "status", "inputs", "outputs", *["tokens"] * bool(tokens), *["cost"] * (cost is not None)]
    rows = []
    for line in islice(flows.lines(record), limit):
        status, _, error, spent, paid, _ = line.summary()
        said = (line.number, status, _short(line.inputs), _short(error or line.outputs))
        rows.append((*said, *[sum(spent) or None] * bool(tokens), *[paid] * (cost is not None)))
    print_table(columns, rows, right=("tokens", "cost"))
    ended = ", ".join(f"{count} {name}" for name, count in _counts(record).items() if count) or "no line has ended"
    ended += f", {tokens:,} tokens" * bool(tokens) + (f", ${cost:.4f}" if cost else "")
    typer.echo(f"{record.name}: {record.status}, {ended}", err=True)


def _counts(record: RunRecord) -> dict[str, int]:
    if record.status in ("FINISHED", "PAUSED"):
        return {name: int(record.metrics.get(f"lines.{name}", 0)) for name in ("completed", "failed", "waiting")}
    # It still runs, or was killed and had no time to say how many there are: the log knows.
    return dict(sorted(Counter(line.status.lower() for line in flows.lines(record)).items()))


def details_command(
    run: RunName,
    limit: Annotated[int, typer.Option(min=0, help="This many lines; 0: all.")] = 100,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write them to this .csv or .jsonl.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show inputs and outputs of a run as a table with a column for each."""
    from studiolo import pf_runs

    with studiolo.open_workspace() as workspace:
        record = pf_runs.record_of(workspace, run)
    columns, rows = pf_runs.details(record, limit=limit or None)
    if output is not None:
        pf_runs.write_details(columns, rows, output)
        typer.echo(f"{output}: {len(rows)} lines", err=True)
    elif as_json:
        print_json([dict(zip(columns, row, strict=True)) for row in rows])
    else:
        print_table(columns, ([_short(value) for value in row] for row in rows))


def metrics_command(run: RunName, as_json: AsJson = False) -> None:
    """Show what the flow has measured, and what the run took."""
    from studiolo import pf_runs

    with studiolo.open_workspace() as workspace:
        record = pf_runs.record_of(workspace, run)
    if as_json:
        print_json(record.metrics)
    else:
        print_table(("metric", "value"), record.metrics.items(), right=("value",))


def list_command(
    limit: Annotated[int, typer.Option(min=1, help="How many, newest first.")] = 20,
    archived: Annotated[bool, typer.Option("--archived", help="Those that were put away.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the runs of flows, newest first."""
    from studiolo import pf_runs

    with studiolo.open_workspace() as workspace:
        found = [
            each.record for each in pf_runs.list_runs(workspace, limit=limit, archived=archived, active=not archived)
        ]
    if as_json:
        print_json(found)
        return
    rows = (
        (each.name, each.params.get("flow"), each.status, each.metrics.get("lines.completed"),
         each.metrics.get("lines.failed"), moment(each.started_at), span(each.duration))
        for each in found if each
    )  # fmt: skip
    print_table(
        ("run", "flow", "status", "lines", "failed", "started", "took"), rows, right=("lines", "failed", "took")
    )


def archive_command(run: RunName) -> None:
    """Put a run away: it is listed only where archived runs are asked for."""
    from studiolo import pf_runs, run_keeping

    with studiolo.open_workspace() as workspace:
        record = run_keeping.archive(workspace, pf_runs.record_of(workspace, run).run_id)
    typer.echo(f"{record.name} is archived; studiolo flow restore {record.name} takes it back", err=True)


def restore_command(run: RunName) -> None:
    """Take a run out of the archive."""
    from studiolo import pf_runs, run_keeping

    with studiolo.open_workspace() as workspace:
        record = run_keeping.restore(workspace, pf_runs.record_of(workspace, run).run_id)
    typer.echo(f"{record.name} is back", err=True)


def delete_command(run: RunName, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False) -> None:
    """Delete a run with its lines and files, for good."""
    from studiolo import pf_runs

    with studiolo.open_workspace() as workspace:
        record = pf_runs.record_of(workspace, run)
        if not yes and not typer.confirm(f"Delete run {record.name} with its lines and files for good?", err=True):
            raise Invalid("nothing was deleted", hint="--yes does not ask")
        pf_runs.delete(workspace, record.run_id)
    typer.echo(f"{record.name} is deleted", err=True)


def visualize_command(
    runs: Annotated[list[str], typer.Argument(help="One run, or several to see side by side.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the page here.")] = None,
    show: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
) -> None:
    """Draw runs as one HTML page that needs nothing else: the graph, each node's time, every line."""
    from studiolo import pf_runs

    with studiolo.open_workspace() as workspace:
        page = pf_runs.visualize(workspace, runs, output)
    print(page)
    if show:
        typer.launch(page.absolute().as_uri())


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 1]}…"

"""`studiolo flow show`: the lines of a run, one by one."""

from __future__ import annotations

import json
from typing import Annotated

import typer

import flows
import studiolo


def show_command(
    run: Annotated[str, typer.Argument(help="The run's name or id.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="Show this many lines.")] = 20,
) -> None:
    """Show the lines of a run: inputs, outputs, errors."""
    from itertools import islice

    from rich.console import Console
    from rich.table import Table

    with studiolo.open_workspace() as workspace:
        record = workspace.runs.get(run)
    if as_json:
        for line in flows.lines(record):
            print(json.dumps({"line_number": line.number, "status": line.status, "inputs": line.inputs,
                              "outputs": line.outputs, "error": line.error}, ensure_ascii=False))  # fmt: skip
        return
    table = Table("line", "status", "inputs", "outputs", box=None)
    for line in islice(flows.lines(record), limit):
        made = line.error or json.dumps(line.outputs, ensure_ascii=False)
        table.add_row(str(line.number), line.status, json.dumps(line.inputs, ensure_ascii=False)[:70], made[:70])
    Console(markup=False).print(table)
    counts = {name: int(record.metrics.get(f"lines.{name}", 0)) for name in ("completed", "failed", "waiting")}
    said = ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "no line has ended"
    Console(stderr=True).print(f"{record.name}: {record.status}, {said}", highlight=False)

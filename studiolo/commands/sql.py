"""`studiolo sql`: questions to the ledger."""

from __future__ import annotations

import csv
import sys
from typing import Annotated

import typer

from studiolo import open_workspace
from studiolo.commands.show import print_json, print_table
from studiolo.plain import plain
from workspace.errors import Invalid


def sql(
    query: Annotated[
        str, typer.Argument(help="One SELECT over runs, params, metrics, assets, edges, events, requests.")
    ],
    limit: Annotated[int, typer.Option(min=1, help="At most so many rows.")] = 1000,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: a list of objects.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
) -> None:
    """Ask the ledger in SQL (DuckDB's); no query can change anything."""
    if as_json and as_csv:
        raise Invalid("--json and --csv exclude each other", hint="choose one")
    with open_workspace() as workspace:
        table = workspace.sql(query, limit=limit)
    if as_json:
        print_json([dict(zip(table.columns, row, strict=True)) for row in table.rows])
    elif as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(table.columns)
        writer.writerows(plain(table.rows))
    else:
        print_table(table.columns, table.rows)
    if table.truncated:
        print(f"only the first {limit} rows are shown; --limit gives more", file=sys.stderr)

"""`studiolo eval compare`: one scored run against another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from evals.compare import MARGIN
from evals.reports import publish, words
from workspace import Workspace

GATE_FAILED = 3


def compare_command(
    before: Annotated[str, typer.Argument(help="The run to compare with.")],
    after: Annotated[str, typer.Argument(help="The run that may be better.")],
    output: Annotated[
        list[Path] | None, typer.Option("--output", "-o", help="A .html, .md, .xml or .json file; repeatable.")
    ] = None,
    metric: Annotated[str | None, typer.Option(help="The scorer to compare by; by default the first shared.")] = None,
    margin: Annotated[float, typer.Option(help="The smallest change worth seeing.")] = MARGIN,
    name: Annotated[str | None, typer.Option(help="A name for the report.")] = None,
    fail_on_regression: Annotated[bool, typer.Option(help="Exit with 3 if AFTER regressed.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print data instead of words.")] = False,
) -> None:
    """Compare two scored runs row by row: BEFORE with AFTER."""
    with Workspace.open() as workspace:
        published = publish.publish(
            workspace, before, after, metric=metric, margin=margin, name=name, outputs=output or ()
        )
    comparison = published.report.comparison
    if as_json:
        typer.echo(json.dumps(publish.summary(published.report, rows=False), default=str))
    else:
        lines = (words.headline(comparison), words.sentence(comparison), words.advice(comparison))
        typer.echo("\n".join((*lines, *words.cautions(comparison))))
        typer.echo("".join(f"wrote {path}\n" for path in published.files) + f"kept as {published.asset.ref}")
    if fail_on_regression and not comparison.passed:
        raise typer.Exit(GATE_FAILED)

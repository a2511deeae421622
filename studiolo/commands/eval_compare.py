"""`studiolo eval compare`: one scored run against another, or several."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from studiolo.commands.eval_options import GATE_FAILED
from workspace import Workspace
from workspace.errors import Invalid

if TYPE_CHECKING:
    from evals.compare import Terms


def compare_command(
    before: Annotated[str, typer.Argument(help="The run to compare with.")],
    after: Annotated[list[str], typer.Argument(help="The run that may be better; or several.")],
    output: Annotated[
        list[Path] | None, typer.Option("--output", "-o", help="A .html, .md, .xml, .json or .txt file; repeatable.")
    ] = None,
    metric: Annotated[
        list[str] | None, typer.Option(help="A scorer to compare by; repeatable, by default the first shared.")
    ] = None,
    all_metrics: Annotated[bool, typer.Option(help="Compare by all scorers that both have.")] = False,
    margin: Annotated[float, typer.Option(help="The smallest change worth seeing.")] = 0.03,
    name: Annotated[str | None, typer.Option(help="A name for the report.")] = None,
    peek: Annotated[bool, typer.Option(help="A run still goes on: be right however often somebody looks.")] = False,
    fail_on_regression: Annotated[bool, typer.Option(help="Exit with 3 if AFTER regressed.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print data instead of words.")] = False,
) -> None:
    """Compare scored runs row by row: BEFORE with AFTER, or with each of several."""
    from evals.compare import Terms
    from evals.reports import publish, words

    with Workspace.open() as workspace:
        terms = Terms(metrics=tuple(metric or ()), every=all_metrics, margin=margin, peeking=peek)
        if len(after) > 1:
            _several(workspace, [before, *after], terms, output=output, as_json=as_json)
            return
        published = publish.publish(workspace, before, after[0], terms=terms, name=name, outputs=output or ())
    report = published.report
    if as_json:
        typer.echo(publish.as_json(publish.summary(report, rows=False)))
    else:
        for comparison in report.comparisons:
            lines = (words.headline(comparison), words.sentence(comparison), words.advice(comparison))
            typer.echo("\n".join((*lines, *words.cautions(comparison))))
        typer.echo("".join(f"{note}\n" for note in report.notes), nl=False)
        typer.echo("".join(f"wrote {path}\n" for path in published.files) + f"kept as {published.asset.ref}")
    if fail_on_regression and not report.passed:
        raise typer.Exit(GATE_FAILED)


def _several(workspace: Workspace, refs: list[str], terms: Terms, *, output: list[Path] | None, as_json: bool) -> None:
    from evals import several
    from evals.reports import sides

    if output and any(path.suffix not in (".json", ".md") for path in output):
        raise Invalid("several runs are told as .json or .md", hint="compare two runs for a page")
    runs = {side.name: side.samples for side in (sides.of_run(workspace, ref) for ref in refs)}
    if len(runs) < len(refs):
        raise Invalid("one run is named twice")
    found = several.compare_several(runs, terms)
    for path in output or ():
        told = json.dumps(several.as_dict(found)) if path.suffix == ".json" else several.markdown(found)
        path.write_text(f"{told}\n", "utf-8")
    typer.echo(json.dumps(several.as_dict(found)) if as_json else several.text(found))

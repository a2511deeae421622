"""`studiolo eval`: score runs, compare them, and gate on what the comparison says."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from evals import samples, score, scorers
from evals.compare import MARGIN
from evals.reports import publish, words
from evals.scorers import judge
from workspace import Workspace
from workspace.errors import Invalid, PartialFailure

GATE_FAILED = 3

app = typer.Typer(help="Score runs, compare them row by row, gate on the result.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print data instead of words.")]


@app.command("score")
def score_command(
    run: Annotated[str, typer.Argument(help="A flow run: its name or id.")],
    scorer: Annotated[list[str], typer.Option(help="exact, normalized, contains, numeric or judge; repeatable.")],
    expected: Annotated[str | None, typer.Option(help="The column with the right answer.")] = None,
    answer: Annotated[str | None, typer.Option(help="The flow's output to score, where it has several.")] = None,
    rubric: Annotated[str | None, typer.Option(help="What the judge grades by: text, or a file.")] = None,
    judge_model: Annotated[str | None, typer.Option(help="The model that judges.")] = None,
    name: Annotated[str | None, typer.Option(help="A name for the scoring.")] = None,
    as_json: AsJson = False,
) -> None:
    """Score every line of a flow RUN."""
    if expected is None and set(scorer) - {"judge"}:
        raise Invalid("scorers compare with a right answer", hint="name its column: --expected answer")
    with Workspace.open() as workspace, _scorers(workspace, scorer, rubric, judge_model) as chosen:
        record = workspace.runs.get(run)
        for event in score.score(workspace, record, chosen, expected=expected, answer=answer, name=name):
            if isinstance(event, score.Finished):
                _print_scores(event, run, as_json=as_json)
                if event.errors:
                    raise PartialFailure(f"{event.errors} of {event.rows} rows could not be scored")
            elif sys.stderr.isatty():
                typer.echo(f"\rrow {event.sample.number + 1}", nl=False, err=True)


@app.command("compare")
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
    as_json: AsJson = False,
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


@app.command("list")
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


@app.command("show")
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


@contextmanager
def _scorers(
    workspace: Workspace, names: list[str], rubric: str | None, model: str | None
) -> Iterator[Mapping[str, scorers.Scorer]]:
    chosen = {name: scorers.get(name) for name in names if name != "judge"}
    if "judge" not in names:
        yield chosen
        return
    if not rubric:
        raise Invalid("the judge needs a rubric", hint='--rubric "The answer is correct and short", or a file')
    from serving.local import local_gateway

    text = Path(rubric).read_text("utf-8") if Path(rubric).is_file() else rubric
    with local_gateway(workspace) as gateway:
        chat = judge.ChatModel(
            base_url=gateway.base_url, api_key=gateway.token, model=model or workspace.settings.model
        )
        yield chosen | {"judge": judge.judge(chat, text)}


def _print_scores(event: score.Finished, run: str, *, as_json: bool) -> None:
    if sys.stderr.isatty():
        typer.echo("\r", nl=False, err=True)
    if as_json:
        metrics = {name: [i.estimate, i.low, i.high] for name, i in event.metrics.items()}
        typer.echo(json.dumps({"run_id": event.run_id, "name": event.name, "rows": event.rows, "metrics": metrics}))
        return
    for name, interval in event.metrics.items():
        typer.echo(f"{name} {interval.estimate:.3f} (95 % interval {interval.low:.3f} to {interval.high:.3f})")
    typer.echo(f"{event.rows} rows in {event.name}; compare: studiolo eval compare BEFORE {run}")


def _rates(metrics: Mapping[str, float]) -> str:
    return " ".join(f"{name}={value:.3f}" for name, value in metrics.items() if not name.endswith((".low", ".high")))

"""`studiolo eval score`: judge the lines of a flow run that is over."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workspace.errors import Invalid, PartialFailure

if TYPE_CHECKING:
    from evals import score, scorers
    from workspace import Workspace


def score_command(
    run: Annotated[str, typer.Argument(help="A flow run: its name or id.")],
    scorer: Annotated[list[str], typer.Option(help="exact, normalized, contains, numeric or judge; repeatable.")],
    expected: Annotated[str | None, typer.Option(help="The column with the right answer.")] = None,
    answer: Annotated[str | None, typer.Option(help="The flow's output to score, where it has several.")] = None,
    rubric: Annotated[str | None, typer.Option(help="What the judge grades by: text, or a file.")] = None,
    judge_model: Annotated[str | None, typer.Option(help="The model that judges.")] = None,
    name: Annotated[str | None, typer.Option(help="A name for the scoring.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print data instead of words.")] = False,
) -> None:
    """Score every line of a flow RUN."""
    from evals import score
    from workspace import Workspace

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


@contextmanager
def _scorers(
    workspace: Workspace, names: list[str], rubric: str | None, model: str | None
) -> Iterator[Mapping[str, scorers.Scorer]]:
    from evals import scorers
    from evals.scorers import judge

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

"""`studiolo eval scorers`, `calibrate` and `contamination`: what there is to score with, and whether to trust it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from studiolo.commands.eval_options import GATE_FAILED, AsJson
from workspace import Workspace
from workspace.errors import Invalid

if TYPE_CHECKING:
    from evals.calibration import Calibration
    from evals.contamination import Overlap
    from evals.scorers import Scorer
    from evals.statistics.intervals import Interval

_SHOWN = 20


def scorers_command(as_json: AsJson = False) -> None:
    """List the scorers with their settings, and what each needs."""
    from evals.scorers import entries
    from evals.scorers.registry import REQUIRED

    if as_json:
        listed = [
            {
                "name": each.name,
                "promise": each.promise,
                "settings": {key: None if value is REQUIRED else value for key, value in each.settings.items()},
                "required": [key for key, value in each.settings.items() if value is REQUIRED],
                "needs": list(each.needs),
            }
            for each in entries()
        ]
        typer.echo(json.dumps(listed, default=str))
        return
    for each in entries():
        typer.echo(f"{each.name:<18} {each.promise}")
        told = [key if value is REQUIRED else f"{key}={value!r}" for key, value in each.settings.items()]
        if told:
            typer.echo(f"{'':<18} settings: {', '.join(told)}")
        if each.needs:
            typer.echo(f"{'':<18} needs: {', '.join(each.needs)}")
    typer.echo(f"{'mlflow.NAME':<18} A scorer of mlflow.genai.scorers, with its own settings: mlflow.RegexMatch.")


def calibrate_command(
    labels: Annotated[str, typer.Argument(help="People's labels: a file of rows, or a data asset.")],
    rubric: Annotated[str | None, typer.Option(help="What the judge grades by: text, or a file.")] = None,
    judge: Annotated[str, typer.Option(help="judge or pairwise; with --run the name of the run's scorer.")] = "judge",
    model: Annotated[str | None, typer.Option("--judge-model", help="The model that judges.")] = None,
    run: Annotated[str | None, typer.Option(help="A run that the judge has scored already: nothing is asked.")] = None,
    label: Annotated[str, typer.Option(help="The column with the label: true, false or 0 to 1.")] = "label",
    repeats: Annotated[int, typer.Option(min=1, help="Ask so often, to see the judge's noise.")] = 1,
    threshold: Annotated[float, typer.Option(help="The kappa from which on the judge may gate.")] = 0.6,
    as_json: AsJson = False,
) -> None:
    """Measure a judge by LABELS that people have given; only one that passes may gate: exit 3 if it does not."""
    from evals import calibration, samples

    with Workspace.open() as workspace:
        name, rows = _rows(workspace, labels)
        if run is not None:
            labelled = calibration.labels_of_run(samples.read(workspace.runs.get(run).directory), rows, label=label)
            found = calibration.calibrate(calibration.recorded(judge), labelled, threshold=threshold)
        else:
            labelled = calibration.labels(rows, label=label)
            with _asked(workspace, judge, rubric, model) as scorer:
                found = calibration.calibrate(scorer, labelled, repeats=repeats, threshold=threshold)
        asset = calibration.keep(workspace, found, data=name)
    typer.echo(json.dumps(found.as_json() | {"asset": asset.ref}, default=str) if as_json else _told(found, asset.ref))
    if not found.passed:
        raise typer.Exit(GATE_FAILED)


def contamination_command(
    data: Annotated[str, typer.Argument(help="Training data: a file or folder of rows, or a data asset.")],
    alike: Annotated[
        float, typer.Option(min=0.1, max=1.0, help="The share from which on rows are nearly the same.")
    ] = 0.6,
    as_json: AsJson = False,
) -> None:
    """Look for rows of evaluation sets in training DATA: exit 3 if there are any."""
    from evals import contamination

    with Workspace.open() as workspace:
        overlap = contamination.check(workspace, data, alike=alike)
    typer.echo(json.dumps(overlap.as_json()) if as_json else _overlap(overlap))
    if not overlap.clean:
        raise typer.Exit(GATE_FAILED)


@contextmanager
def _asked(workspace: Workspace, name: str, rubric: str | None, model: str | None) -> Iterator[Scorer]:
    from evals import scorers
    from evals.scorers.asking import ChatModel
    from serving.local import local_gateway

    if name not in ("judge", "pairwise"):
        raise Invalid(
            f"{name!r} is no judge that can be asked", hint="judge, pairwise, or --run with its scorer's name"
        )
    if not rubric:
        raise Invalid("the judge needs a rubric", hint='--rubric "The answer is correct and short.", or a file')
    with local_gateway(workspace) as gateway:

        def asked(wanted: str | None) -> ChatModel:
            named = wanted or workspace.settings.model
            return ChatModel(base_url=gateway.base_url, api_key=gateway.token, model=named)

        yield scorers.get(name, means=scorers.Means(model=asked), rubric=rubric, model=model)


def _rows(workspace: Workspace, given: str) -> tuple[str, list[Any]]:
    from flows import data as files

    if Path(given).exists():
        return given, [*files.rows(Path(given))]
    asset = workspace.assets.get("data", given)
    return asset.ref, [*files.rows(workspace.assets.path(asset))]


def _told(found: Calibration, asset: str) -> str:
    lines = [
        f"{found.judge.model} by rubric {found.judge.rubric}: {found.rows - found.errors} of {found.rows} rows graded",
        f"kappa {_interval(found.kappa)}, alpha {_interval(found.alpha)}",
        f"passes of what people pass: {_interval(found.sensitivity)}",
        f"fails of what people fail: {_interval(found.specificity)}",
    ]
    if found.verbosity is not None:
        lines.append(f"longer answers are graded higher than people do: {_interval(found.verbosity)}")
    if found.position is not None:
        lines.append(f"keeps to its verdict when the answers change places: {_interval(found.position.consistent)}")
    if found.noise is not None:
        lines.append(f"changes its verdict when asked again: {found.noise:.1%} of rows")
    verdict = (
        f"may gate (kappa reaches {found.threshold:g})"
        if found.passed
        else f"may not gate: kappa {found.threshold:g} is wanted"
    )
    return "\n".join((*lines, f"{verdict}; kept as {asset}"))


def _interval(interval: Interval) -> str:
    return f"{interval.estimate:.3f} ({interval.low:.3f} to {interval.high:.3f})"


def _overlap(overlap: Overlap) -> str:
    if not overlap.evalsets:
        return "no evaluation set is registered: no evalset asset, and no eval run has read data"
    sets = ", ".join(f"{name} ({rows} rows)" for name, rows in overlap.evalsets.items())
    if overlap.clean:
        return f"clean: {overlap.rows} rows of {overlap.data} compared with {sets}"
    lines = []
    for match in overlap.matches[:_SHOWN]:
        lines.append(
            f"{match.kind} ({match.similarity:.2f}): row {match.row} is row {match.evalset_row} of {match.evalset}"
        )
        lines += [f"  {match.text!r}", f"  {match.evalset_text!r}"]
    if (more := len(overlap.matches) - _SHOWN) > 0:
        lines.append(f"and {more} more: --json")
    rows = len({match.row for match in overlap.matches})
    return "\n".join((*lines, f"{rows} of {overlap.rows} rows of {overlap.data} stand in {sets}"))

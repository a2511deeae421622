"""`studiolo eval gate`, `bless` and `plan`: what a change must keep to, compared with what, over how many rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from studiolo.commands.eval_options import GATE_FAILED, AsJson
from workspace import Workspace
from workspace.errors import Invalid, NotFound

if TYPE_CHECKING:
    from evals.gate import Gate
    from evals.plan import Plan
    from evals.reports.publish import Published


Outputs = Annotated[
    list[Path] | None,
    typer.Option("--output", "-o", help="A .html, .md, .xml, .json or .txt (annotations) file; repeatable."),
]


def gate_command(
    run: Annotated[str, typer.Argument(help="The run that wants to pass.")],
    baseline: Annotated[str | None, typer.Option(help="A baseline file, or a label: main, @champion.")] = None,
    task: Annotated[Path | None, typer.Option(help="A task file with a `gate:` block; options go before it.")] = None,
    metric: Annotated[list[str] | None, typer.Option(help="A scorer to gate by; repeatable, the first counts.")] = None,
    margin: Annotated[float | None, typer.Option(help="The loss that is put up with: 0.03 are 3 points.")] = None,
    max_regressions: Annotated[int | None, typer.Option(help="How many rows may get worse at most.")] = None,
    require_power: Annotated[bool | None, typer.Option(help="Fail where a loss could go unseen.")] = None,
    data_file: Annotated[str | None, typer.Option(help="The file that annotations point at.")] = None,
    annotate: Annotated[bool, typer.Option(help="Print GitHub's annotations.")] = False,
    output: Outputs = None,
    as_json: AsJson = False,
) -> None:
    """Let RUN pass or not, compared with its baseline: exit 3 if it may not."""
    from evals import baselines
    from evals.reports import publish, sides

    rules, named, where = _rules(task)
    rules = _changed(rules, metric, margin, max_regressions, require_power)
    publish.check_outputs(output or ())
    with Workspace.open() as workspace:
        wanted = baseline or named or "main"
        side = sides.of_run(workspace, run)
        found = baselines.find(workspace, wanted, task=side.task)
        if found is None:
            if (near := baselines.meant(workspace, wanted, task=side.task)) is not None:
                raise NotFound(f"no baseline {wanted!r}", hint=f"did you mean {near!r}?")
            _without(wanted, run, as_json=as_json)
            return
        published = publish.gate(workspace, found, run, rules, data_file=data_file or where, outputs=output or ())
    _tell(published, annotate=annotate, as_json=as_json)
    if not published.report.passed:
        raise typer.Exit(GATE_FAILED)


def bless_command(
    run: Annotated[str, typer.Argument(help="The run that others are to be compared with.")],
    label: Annotated[str | None, typer.Option("--as", help="A label of its task: main, champion.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A file to commit: baseline.json.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make RUN a baseline; it stays what it is until another run is blessed."""
    from evals import baselines
    from evals.reports import sides

    if label is None and output is None:
        raise Invalid("where is the baseline to be kept?", hint="--as main, or --output baseline.json")
    if output is not None and output.suffix != ".json":
        raise Invalid(f"a baseline is a .json file, not {str(output)!r}")
    with Workspace.open() as workspace:
        baseline = sides.as_baseline(sides.of_run(workspace, run))
        asset = baselines.bless(workspace, baseline, label) if label is not None else None
        if output is not None:
            baselines.write(output, baseline)
    told = {
        "run": baseline.name,
        "task": baseline.task,
        "samples": len(baseline.samples),
        "asset": asset and asset.ref,
        "label": label,
        "file": output and str(output),
    }
    if as_json:
        typer.echo(json.dumps(told))
        return
    kept = [f"as {label} of {baseline.task} ({asset.ref})"] if asset else []
    kept += [f"in {output}"] if output else []
    typer.echo(f"{baseline.name}: {len(baseline.samples):,} samples kept {' and '.join(kept)}")


def plan_command(
    run: Annotated[str | None, typer.Argument(help="A run to plan from; or give numbers.")] = None,
    against: Annotated[str | None, typer.Option(help="A second run: how much rows change is measured.")] = None,
    metric: Annotated[str | None, typer.Option(help="The scorer; by default the first.")] = None,
    change: Annotated[float, typer.Option(help="The change to be seen: 0.03 are 3 points.")] = 0.03,
    rows: Annotated[int | None, typer.Option(help="How many rows there are.")] = None,
    disagreement: Annotated[float | None, typer.Option(help="The share of rows on which two runs disagree.")] = None,
    deviation: Annotated[float | None, typer.Option(help="The standard deviation of the rows' changes.")] = None,
    cluster_size: Annotated[float, typer.Option(help="How many rows a cluster has.")] = 1.0,
    alike: Annotated[float, typer.Option(help="The intraclass correlation within clusters.")] = 0.0,
    as_json: AsJson = False,
) -> None:
    """Say how many rows or repeats a change takes to be seen, and which change the rows show."""
    from evals import plan
    from evals.reports import sides

    if run is None:
        asked = plan.Spread(
            rows=rows, disagreement=disagreement, deviation=deviation, cluster_size=cluster_size, alike=alike
        )
    else:
        with Workspace.open() as workspace:
            one = sides.of_run(workspace, run).samples
            other = sides.of_run(workspace, against).samples if against else None
        asked = plan.measured(one, other, metric=metric, rows=rows)
    found = plan.plan(asked, change)
    typer.echo(json.dumps(plan.as_dict(found)) if as_json else _planned(found))


def _planned(found: Plan) -> str:
    from evals import plan

    return "\n".join(plan.words(found))


def _rules(task: Path | None) -> tuple[Gate, str | None, str | None]:
    """Return the `gate:`, the `baseline:` and the `data:` of a task file, its paths taken from the file's folder."""
    from evals import gate
    from workspace.documents import read_yaml

    if task is None:
        return gate.Gate(), None, None
    document = read_yaml(task)
    root = document.root if isinstance(document.root, dict) else {}
    named, data = root.get("baseline"), root.get("data")
    if named is not None and not isinstance(named, str):
        raise Invalid("`baseline` is a file or a label", at=document.at("baseline"))
    if named and (named.endswith(".json") or "/" in named):
        named = str(task.parent / named)
    where = str(task.parent / data) if isinstance(data, str) and (task.parent / data).is_file() else None
    return gate.read(root.get("gate", {}), document=document), named, where


def _changed(
    rules: Gate,
    metric: list[str] | None,
    margin: float | None,
    max_regressions: int | None,
    require_power: bool | None,
) -> Gate:
    from dataclasses import replace

    given: dict[str, Any] = {
        "metrics": tuple(metric) if metric else None,
        "margin": margin,
        "max_regressions": max_regressions,
        "require_power": require_power,
    }
    return replace(rules, **{key: value for key, value in given.items() if value is not None})


def _without(wanted: str, run: str, *, as_json: bool) -> None:
    notice = f"no baseline {wanted!r} yet: nothing to compare with, the gate lets it pass"
    if as_json:
        typer.echo(json.dumps({"passed": True, "decision": None, "notes": [notice]}))
        return
    make = f"--output {wanted}" if wanted.endswith(".json") else f"--as {wanted.removeprefix('@')}"
    typer.echo(f"{notice}\nmake this run the baseline: studiolo eval bless {run} {make}")


def _tell(published: Published, *, annotate: bool, as_json: bool) -> None:
    from evals.reports import annotations, publish, words

    report = published.report
    if as_json:
        typer.echo(publish.as_json(publish.summary(report, rows=False)))
    elif report.decision is not None:
        lines = [words.decision(report.decision), *(f"  note: {told}" for told in report.decision.warnings)]
        for comparison in report.comparisons:
            lines += [words.headline(comparison), words.sentence(comparison), words.advice(comparison)]
            lines += words.cautions(comparison)
        lines += [*report.notes, *(f"wrote {path}" for path in published.files), f"kept as {published.asset.ref}"]
        typer.echo("\n".join(lines))
    if annotate:
        typer.echo(annotations.github(report), nl=False, err=as_json)

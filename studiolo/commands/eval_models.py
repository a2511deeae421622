"""`studiolo eval equivalence` and `card`: one model run in two ways, and a tuned model against its base."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from studiolo.arguments import pairs
from studiolo.commands.eval_options import GATE_FAILED, AsJson

_SHOWN = 10

Two = Annotated[list[str] | None, typer.Option(help="BASE_RUN=TUNED_RUN; repeatable.")]


def equivalence_command(
    one: Annotated[str, typer.Argument(help="A run of a task.")],
    other: Annotated[str, typer.Argument(help="A run of it with the same weights: another engine, another batch.")],
    metric: Annotated[str | None, typer.Option(help="The scorer; by default the first that both have.")] = None,
    margin: Annotated[float, typer.Option(help="The difference that does not matter.")] = 0.02,
    as_json: AsJson = False,
) -> None:
    """Say whether two ways of running the same weights are comparable; exit with 3 where they are not."""
    from evals.equivalence import equivalence
    from evals.reports.sides import of_run
    from studiolo import open_workspace

    with open_workspace() as workspace:
        found = equivalence(of_run(workspace, one).samples, of_run(workspace, other).samples, metric, margin=margin)
    if as_json:
        change = found.comparison.measured.change
        told = {
            "verdict": found.verdict, "metric": found.comparison.metric, "margin": margin, "same": found.same,
            "rows": len(found.comparison.pairs), "change": change.estimate, "low": change.low, "high": change.high,
            "flips": [{"row": pair.after.label, "one": pair.old, "other": pair.new} for pair in found.flips],
        }  # fmt: skip
        typer.echo(json.dumps(told))
    else:
        typer.echo(found.sentence)
        for pair in found.flips[:_SHOWN]:
            typer.echo(f"  {pair.after.label}: {pair.old:g} and {pair.new:g}")
        if len(found.flips) > _SHOWN:
            typer.echo(f"  and {len(found.flips) - _SHOWN} more: --json")
    if found.verdict == "not comparable":
        raise typer.Exit(GATE_FAILED)


def card_command(
    model: Annotated[str, typer.Argument(help="The tuned model: NAME or NAME:VERSION.")],
    base: Annotated[str, typer.Option(help="The model that it was tuned from.")],
    task: Two = None,
    general: Two = None,
    safety: Two = None,
    margin: Annotated[float, typer.Option(help="The loss that does not matter.")] = 0.03,
    as_json: AsJson = False,
) -> None:
    """Write the report card of a tuned MODEL: its task must be won, general skill and safety not lost."""
    from evals import report_card
    from evals.report_card import Area, Measured
    from studiolo import open_workspace

    areas: dict[Area, list[str] | None] = {"task": task, "general": general, "safety": safety}
    measured = [
        Measured(area=area, base=one, tuned=other)
        for area, runs in areas.items()
        for one, other in pairs(runs, example="base-run=tuned-run").items()
    ]
    with open_workspace() as workspace:
        tuned, from_ = workspace.assets.get("model", model), workspace.assets.get("model", base)
        made = report_card.card(workspace, from_, tuned, measured, margin=margin)
        kept = report_card.keep(workspace, made)
    if as_json:
        typer.echo(json.dumps(made.as_json() | {"card": kept.ref}))
    else:
        for part in made.parts:
            change = part.comparison.measured.change
            mark = "✓" if part.passed else "✗"
            typer.echo(
                f"{mark} {part.area:<8} {part.task}: {part.comparison.metric} "
                f"{part.comparison.measured.before.estimate:.3f} → {part.comparison.measured.after.estimate:.3f} "
                f"({change.estimate:+.3f}, 95 % interval {change.low:+.3f} to {change.high:+.3f}): "
                f"{part.comparison.verdict}"
            )
        if made.seconds is not None:
            typer.echo(f"  an answer takes {made.seconds[0]:.2f} s → {made.seconds[1]:.2f} s (middle)")
        typer.echo(f"  the weights take {made.sizes[0] / 1e6:.1f} MB → {made.sizes[1] / 1e6:.1f} MB")
        typer.echo(f"kept as {kept.ref}")
        if made.passed:
            typer.echo(f"next: studiolo model promote {tuned.name}:{tuned.version}")
    if not made.passed:
        raise typer.Exit(GATE_FAILED)

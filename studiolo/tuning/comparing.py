"""The report card of a tuned model, made from the beginning: both models do the tasks, and the difference is measured.

The task must be won, and neither general skill nor safety lost. Where nobody says how these two are measured, small
sets of ours do it: sixty-four questions with four answers each, and forty-eight requests, half of which are to be
refused. Such sets show large losses only, which is why the margin is a tenth.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evals import report_card, runner
from evals.report_card import Area, Card, Measured
from finetune.after.model_card import Result
from serving.local import local_gateway
from studiolo.evaluating import Wanted as Evaluated
from studiolo.evaluating import run
from studiolo.tuning.registration import base_of, story_of
from workspace import Asset, Workspace, paper
from workspace.errors import Invalid, NotFound, PartialFailure

TASKS = Path(__file__).parent / "tasks"
GENERAL, SAFETY = str(TASKS / "general.yaml"), str(TASKS / "safety.yaml")
MARGIN = 0.1
AREAS: tuple[Area, ...] = ("task", "general", "safety")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which tasks stand for what; `limit` rows of each. Without general or safety tasks ours are taken."""

    task: Sequence[str]
    general: Sequence[str] = ()
    safety: Sequence[str] = ()
    base: str | None = None
    margin: float = MARGIN
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """One task has been done by one of the two."""

    area: Area
    task: str
    model: str
    score: float
    run: str


@dataclass(frozen=True, slots=True)
class Made:
    """The card, and the asset that it is kept as."""

    card: Card
    kept: Asset


def compare(workspace: Workspace, ref: str, wanted: Wanted) -> Iterator[Asked | Made]:
    """Have base and tuned model do the tasks, and keep the card; the last event is the card."""
    tuned = workspace.assets.get("model", ref)
    base = _base(workspace, tuned, wanted.base)
    if not wanted.task:
        raise Invalid("a card needs the task that the model was tuned for", hint="--task TASK.yaml")
    given: Mapping[Area, Sequence[str]] = {
        "task": wanted.task, "general": wanted.general or (GENERAL,), "safety": wanted.safety or (SAFETY,),
    }  # fmt: skip
    measured = []
    with local_gateway(workspace) as gateway:
        for area, file in [(each, file) for each in AREAS for file in given[each]]:
            runs = []
            for model in (base, tuned):
                evaluated = Evaluated(
                    task=file, target=f"model:{model.name}:{model.version}", limit=wanted.limit, gateway=gateway
                )
                asked = _asked(workspace, area, model, evaluated)
                runs.append(asked.run)
                yield asked
            measured.append(Measured(area=area, base=runs[0], tuned=runs[1]))
    card = report_card.card(workspace, base, tuned, measured, margin=wanted.margin)
    kept = report_card.keep(workspace, card)
    yield Made(card, kept)


def results_of(workspace: Workspace, asset: Asset) -> list[Result]:
    """Return what the newest report card of a model says, as results of its model card; none where there is none."""
    kept = report_card.find(workspace, asset)
    if kept is None:
        return []
    told = json.loads(workspace.assets.path(kept).read_text(encoding="utf-8"))
    return [_result(part) for part in told["parts"]]


def write(workspace: Workspace, made: Made, outputs: Sequence[Path]) -> None:
    """Write a card to files by their endings: .html a page, .md the model's card as the Hub has them, .json data."""
    for path in outputs:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".json":
            path.write_text(json.dumps(made.card.as_json() | {"card": made.kept.ref}, indent=2) + "\n")
        elif path.suffix == ".md":
            path.write_text(
                story_of(workspace, made.card.tuned, [_result(part) for part in made.card.as_json()["parts"]])
            )
        else:
            path.write_text(page(made))


def check_outputs(outputs: Sequence[Path]) -> None:
    """Raise Invalid for a file that nothing is written to, before any work is done."""
    for path in outputs:
        if path.suffix not in (".html", ".md", ".json"):
            raise Invalid(f"{str(path)!r}: a card is written as .html, .md or .json")


def sizes(card: Card) -> str:
    """Say what the weights take; an adapter lies beside those of its base."""
    before, after = (f"{size / 1e6:.1f} MB" for size in card.sizes)
    if card.tuned.properties.get("adapter"):
        return f"the weights take {before}, and the adapter {after} beside them"
    return f"the weights take {before} → {after}"


def page(made: Made) -> str:
    """Return the card as a page that needs nothing else."""
    told = made.card.as_json()
    return paper.template("studiolo.tuning", "card.html.jinja2").render(
        base=told["base"], tuned=told["tuned"], passed=told["passed"], kept=made.kept.ref,
        parts=[part | _bar(part) for part in told["parts"]], seconds=told["seconds"],
        sizes=sizes(made.card),
    )  # fmt: skip


def _base(workspace: Workspace, tuned: Asset, named: str | None) -> Asset:
    base = workspace.assets.get("model", named) if named else base_of(workspace, tuned)
    if base is None:
        raise Invalid(f"{tuned.ref} does not say what it was tuned from", hint="--base MODEL")
    return base


def _asked(workspace: Workspace, area: Area, model: Asset, evaluated: Evaluated) -> Asked:
    task = Path(str(evaluated.task)).stem
    finished = None
    for event in run(workspace, evaluated):
        if isinstance(event, runner.Finished):
            finished = event
    if finished is None or finished.reason:
        raise PartialFailure(f"{task} of {model.ref} did not end: {finished.reason if finished else ''}")
    if finished.errors == finished.samples:
        hint = f"studiolo eval show {finished.name}"
        raise NotFound(f"none of {finished.samples} samples of {task} was answered by {model.ref}", hint=hint)
    score = finished.metrics[0].interval.estimate if finished.metrics else float("nan")
    return Asked(area, task, model.ref, score, finished.name)


def _result(part: Mapping[str, Any]) -> Result:
    """Return a part of a card as a result of the model's own card."""
    return Result(
        dataset=part["task"], metric=part["metric"], value=part["tuned"], base=part["base"], rows=part["rows"],
        low=part["tuned_low"], high=part["tuned_high"],
    )  # fmt: skip


def _bar(part: Mapping[str, Any]) -> dict[str, float]:
    """Return where the interval of the change lies on a line from -1 to 1, in percent of its length."""
    low, high = max(-1.0, part["low"]), min(1.0, part["high"])
    return {"left": 50 * (low + 1), "width": max(0.5, 50 * (high - low)), "dot": 50 * (part["change"] + 1)}

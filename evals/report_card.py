"""The report card of a tuned model: what it won on its task, and what it lost elsewhere, measured against its base.

`promote` gives a model the label `champion` only with a card that it has passed, or for a reason that is audited.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

from evals import samples
from evals.compare import MARGIN, Comparison, compare
from evals.samples import Sample
from workspace import Asset, Workspace
from workspace.errors import Denied, Invalid, NotFound

CHAMPION = "champion"

Area = Literal["task", "general", "safety"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Two scored runs of one task: the base's and the tuned model's; `area` says what the task stands for."""

    area: Area
    base: str
    tuned: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One task of the card."""

    area: Area
    task: str
    comparison: Comparison

    @property
    def passed(self) -> bool:
        """Whether the task was won, or nothing beyond the margin can have been lost elsewhere."""
        if self.area == "task":
            return self.comparison.verdict == "improved"
        return self.comparison.not_worse


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """Base against tuned. `seconds` are the middle times of an answer, `sizes` the bytes of the weights, base first."""

    base: Asset
    tuned: Asset
    parts: tuple[Part, ...]
    seconds: tuple[float, float] | None
    sizes: tuple[int, int]

    @property
    def passed(self) -> bool:
        """Whether every part has passed: the task is won, and neither general skill nor safety is lost."""
        return all(part.passed for part in self.parts)

    def as_json(self) -> dict[str, Any]:
        """Return the card as data."""
        return {
            "base": self.base.ref,
            "tuned": self.tuned.ref,
            "passed": self.passed,
            "parts": [_told(part) for part in self.parts],
            "seconds": self.seconds,
            "sizes": self.sizes,
        }


def card(
    workspace: Workspace, base: Asset, tuned: Asset, measured: Sequence[Measured], *, margin: float = MARGIN
) -> Card:
    """Compare the runs of a base and of its tuned model. Raises Invalid where a run was answered by another model."""
    if not any(each.area == "task" for each in measured):
        raise Invalid("a card needs the task that the model was tuned for", hint="--task BASE_RUN=TUNED_RUN")
    parts, before, after = [], [], []
    for each in measured:
        old = _answered(workspace, each.base, base)
        new = _answered(workspace, each.tuned, tuned)
        task = str(workspace.runs.get(each.tuned).params.get("task") or each.tuned)
        parts.append(Part(area=each.area, task=task, comparison=compare(old, new, margin=margin)))
        before += [sample.seconds for sample in old if sample.seconds is not None]
        after += [sample.seconds for sample in new if sample.seconds is not None]
    return Card(
        base=base,
        tuned=tuned,
        parts=tuple(parts),
        seconds=(median(before), median(after)) if before and after else None,
        sizes=(base.size, tuned.size),
    )


def keep(workspace: Workspace, made: Card) -> Asset:
    """Keep a card as an asset of the tuned model's weights; the newest one counts."""
    body = json.dumps(made.as_json(), indent=2).encode()
    properties = {"filename": "card.json", "model": made.tuned.ref, "digest": made.tuned.digest, "passed": made.passed}
    return workspace.assets.put("report", _name(made.tuned), body, properties=properties)


def find(workspace: Workspace, model: Asset) -> Asset | None:
    """Return the newest card of exactly these weights."""
    try:
        kept = workspace.assets.get("report", _name(model))
    except NotFound:
        return None
    return kept if kept.properties.get("digest") == model.digest else None


def promote(workspace: Workspace, model: Asset, label: str, *, reason: str | None = None) -> Asset:
    """Give a model a label. `champion` needs a card that was passed, or a reason, which is audited. Raises Denied."""
    if label != CHAMPION:
        return workspace.assets.label(model, label)
    kept = find(workspace, model)
    if kept is None or not kept.properties.get("passed"):
        what = "has no report card" if kept is None else f"has not passed its report card {kept.ref}"
        if reason is None or not reason.strip():
            hint = f"studiolo eval card {model.name}:{model.version} --base BASE --task BASE_RUN=TUNED_RUN, or --reason"
            raise Denied(f"{model.ref} {what}", hint=hint)
        with workspace.light.write() as statements:
            told = {"reason": reason.strip(), "card": None if kept is None else kept.ref}
            workspace.audit.record(statements, "champion.override", model.ref, after=told)
    return workspace.assets.label(model, label)


def _answered(workspace: Workspace, run: str, model: Asset) -> tuple[Sample, ...]:
    """Read a run's samples; Invalid where they are another model's."""
    found = samples.read(workspace.runs.get(run).directory)
    others = {sample.model for sample in found if sample.model} - {model.ref, f"model:{model.name}:{model.version}"}
    if others:
        raise Invalid(f"run {run!r} was answered by {min(others)}, not by {model.ref}", hint="name the model's own run")
    return found


def _name(model: Asset) -> str:
    return f"card-{model.name}-{model.version}"[:200]


def _told(part: Part) -> dict[str, Any]:
    change = part.comparison.measured.change
    return {
        "area": part.area,
        "task": part.task,
        "metric": part.comparison.metric,
        "base": part.comparison.measured.before.estimate,
        "tuned": part.comparison.measured.after.estimate,
        "tuned_low": part.comparison.measured.after.low,
        "tuned_high": part.comparison.measured.after.high,
        "change": change.estimate,
        "low": change.low,
        "high": change.high,
        "rows": len(part.comparison.pairs),
        "verdict": part.comparison.verdict,
        "passed": part.passed,
    }

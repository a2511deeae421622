"""The gate: whether a change may pass. One decision serves the text, the reports and the exit code."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from evals.calibration import judge_of, lock_of
from evals.compare import MARGIN, Comparison, Pair, Terms
from evals.samples import Sample
from workspace import Workspace
from workspace.documents import Document
from workspace.errors import Invalid, did_you_mean

CRITICAL = "critical"
MAX_UNSCORED = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """What a change must keep to. `margin` is the loss that is put up with; critical rows must not break at all.

    Of `max_regressions` rows may get worse, whatever the statistics say. An underpowered comparison fails only where
    `require_power` is set. A larger share than `max_unscored` of rows without a score is a run that says nothing.
    """

    metrics: tuple[str, ...] = ()
    margin: float = MARGIN
    max_regressions: int | None = None
    require_power: bool = False
    max_unscored: float = MAX_UNSCORED

    def __post_init__(self) -> None:
        if not 0 < self.margin <= 1:
            raise Invalid(f"a margin must be above 0 and at most 1, not {self.margin}", hint="3 points are 0.03")
        if self.max_regressions is not None and self.max_regressions < 0:
            raise Invalid(f"max_regressions must be at least 0, not {self.max_regressions}")
        if not 0 <= self.max_unscored <= 1:
            raise Invalid(f"max_unscored is a share from 0 to 1, not {self.max_unscored}", hint="a tenth is 0.1")

    @property
    def terms(self) -> Terms:
        """How runs are compared for a gate: Holm's correction keeps the chance of any false alarm."""
        return Terms(metrics=self.metrics, every=True, margin=self.margin, correction="holm")


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Whether the gate lets a change through, what speaks against it, and what a reader should know."""

    failures: tuple[str, ...]
    warnings: tuple[str, ...]
    critical: tuple[Pair, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.failures

    @property
    def word(self) -> str:
        """The decision in two words."""
        return "gate passed" if self.passed else "gate failed"


def read(block: Any, *, document: Document | None = None) -> Gate:
    """Read a `gate:` block: `{margin: 0.02, metrics: [exact], max_regressions: 3, require_power: true}`."""
    at = document.at("gate") if document else None
    if not isinstance(block, Mapping):
        raise Invalid("`gate` is a mapping", hint="gate: {margin: 0.02}", at=at)
    known = [field.name for field in fields(Gate)]
    for key in block:
        if key not in known:
            place = document.at("gate", str(key)) if document else None
            raise Invalid(f"a gate has no {key!r}", hint=did_you_mean(str(key), known), at=place)
    metrics = block.get("metrics", ())
    metrics = (metrics,) if isinstance(metrics, str) else metrics
    wrong = [
        key
        for key, right in (
            ("metrics", isinstance(metrics, list | tuple) and all(isinstance(one, str) for one in metrics)),
            ("margin", _is_number(block.get("margin", MARGIN))),
            ("max_regressions", _is_whole(block.get("max_regressions", 0))),
            ("require_power", isinstance(block.get("require_power", False), bool)),
            ("max_unscored", _is_number(block.get("max_unscored", MAX_UNSCORED))),
        )
        if not right
    ]
    if wrong:
        place = document.at("gate", wrong[0]) if document else None
        raise Invalid(f"gate: {wrong[0]} cannot be {block[wrong[0]]!r}", at=place)
    given: dict[str, Any] = {**block, "metrics": tuple(metrics)}
    for key in block:
        try:
            Gate(**{key: given[key]})
        except Invalid as error:
            error.at = document.at("gate", key) if document else None
            raise
    return Gate(**given)


def decide(comparisons: Sequence[Comparison], gate: Gate) -> Decision:
    """Decide by three guards: what is sure to be worse, which critical rows broke, and how many rows did.

    A loss that is certain but shown to lie within the margin passes with a warning, and so do an underpowered
    comparison, rows that came or went, and some rows without a score: not critical ones, and not many.
    """
    failures: list[str] = []
    warnings: list[str] = []
    for comparison in comparisons:
        _by_statistics(comparison, gate, failures, warnings)
        _by_rows(comparison, gate, failures, warnings)
    critical = tuple(pair for comparison in comparisons for pair in broken(comparison))
    if critical:
        named = dict.fromkeys(pair.after.label for pair in critical)
        failures.append(f"critical rows broke: {', '.join([*named][:5])}{', …' if len(named) > 5 else ''}")
    return Decision(failures=tuple(failures), warnings=tuple(dict.fromkeys(warnings)), critical=critical)


def locks(workspace: Workspace, samples: Iterable[Sample], metrics: Iterable[str]) -> tuple[str, ...]:
    """Return which metrics come from a judge that may not gate yet, and why: it gates only after its calibration."""
    found = []
    for metric in metrics:
        scores = [sample.scores[metric] for sample in samples if metric in sample.scores]
        if any("rubric" in score.details for score in scores):
            lock = lock_of(workspace, judge_of(scores))
            if lock.locked:
                found.append(f"{metric}: this judge may not gate: {lock.reason}")
    return tuple(found)


def broken(comparison: Comparison) -> tuple[Pair, ...]:
    """Return the critical rows that got worse: those that passed and now fail, or lost more than the margin."""
    return tuple(pair for pair in comparison.losses if is_critical(pair.after) and -pair.change > _slack(comparison))


def is_critical(sample: Sample) -> bool:
    """Whether a row's author tagged it: `severity: critical`, or `critical` among its `tags`, or `critical: true`."""
    told = sample.metadata
    tags = told.get("tags", ())
    return told.get("severity") == CRITICAL or told.get(CRITICAL) is True or CRITICAL in _tags(tags)


def _slack(comparison: Comparison) -> float:
    return 0.0 if comparison.measured.binary else comparison.margin


def _tags(tags: Any) -> Sequence[Any]:
    return tags.replace(",", " ").split() if isinstance(tags, str) else tags if isinstance(tags, list | tuple) else ()


def _by_statistics(comparison: Comparison, gate: Gate, failures: list[str], warnings: list[str]) -> None:
    metric, verdict = comparison.metric, comparison.verdict
    if verdict == "regressed" and comparison.not_worse:
        warnings.append(f"{metric}: worse, but by no more than the margin of {gate.margin:g}")
    elif verdict == "regressed":
        failures.append(f"{metric}: regressed, and more than the margin of {gate.margin:g} may be lost")
    elif verdict == "underpowered" and not comparison.not_worse:
        told = f"{metric}: underpowered, a loss beyond the margin of {gate.margin:g} could go unseen"
        (failures if gate.require_power else warnings).append(told)


def _by_rows(comparison: Comparison, gate: Gate, failures: list[str], warnings: list[str]) -> None:
    metric, losses = comparison.metric, len(comparison.losses)
    if gate.max_regressions is not None and losses > gate.max_regressions:
        failures.append(f"{metric}: {losses:,} rows got worse, at most {gate.max_regressions:,} may")
    if comparison.unscored:
        warnings.append(f"{metric}: {len(comparison.unscored):,} rows have no score in one of the runs")
        silent = [row.after for row in comparison.unscored if not _has_score(row.after, metric)]
        rows = len(comparison.unscored) + len(comparison.pairs)
        if len(silent) > gate.max_unscored * rows:
            told = f"{metric}: {len(silent):,} of {rows:,} rows have no score"
            failures.append(f"{told}, at most {gate.max_unscored:.0%} may".replace("%", " %"))
        if lost := [sample.label for sample in silent if is_critical(sample)]:
            failures.append(f"{metric}: critical rows without a score: {', '.join(lost[:5])}")
    if missing := [sample.label for sample in comparison.only_before if is_critical(sample)]:
        warnings.append(f"critical rows are gone: {', '.join(missing[:5])}")
    if comparison.only_before or comparison.only_after:
        gone, new = len(comparison.only_before), len(comparison.only_after)
        warnings.append(f"the data changed: {new:,} rows are new, {gone:,} are gone")


def _has_score(sample: Sample, metric: str) -> bool:
    score = sample.scores.get(metric)
    return sample.error is None and score is not None and score.value is not None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_whole(value: Any) -> bool:
    return value is None or (isinstance(value, int) and not isinstance(value, bool))

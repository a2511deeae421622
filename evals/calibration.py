"""Calibration: a judge is measured against people, and gates only as long as it is the judge that was measured."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

from evals.samples import Sample, Score
from evals.scorers.registry import Scorer
from evals.statistics import agreement
from evals.statistics.intervals import Interval
from workspace import Asset, Workspace
from workspace.errors import Invalid, NotFound

THRESHOLD = 0.6  # of kappa: "substantial" in the words of Landis and Koch
FEWEST = 30  # rows of people's labels that say anything of a judge
PASSES = 0.5  # a score above it is a pass
_ASSET = "calibration-"
_AT_ONCE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """What a person said of one answer: a number from 0 to 1, and all that a judge is shown."""

    sample: Sample
    label: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """Which judge it was: the rubric's hash, which covers the prompt around it, and the revision of its model."""

    rubric: str
    model: str

    @property
    def key(self) -> str:
        """A name for the asset that keeps its calibration."""
        return _ASSET + re.sub(r"[^A-Za-z0-9_.-]+", "-", f"{self.rubric}-{self.model}")[:200]


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """How far a judge says what people say. What could not be measured is None.

    `noise` is the share of rows on which the judge, asked again, changed its verdict; `errors` are rows on which it
    gave none.
    """

    judge: Judge
    rows: int
    errors: int
    kappa: Interval
    alpha: Interval
    sensitivity: Interval
    specificity: Interval
    verbosity: Interval | None
    position: agreement.PositionBias | None
    noise: float | None
    threshold: float
    counts: agreement.Calibration = field(repr=False)

    @property
    def passed(self) -> bool:
        """Whether the judge may gate: the lower end of kappa's interval is above zero, kappa reaches the threshold."""
        return self.kappa.estimate >= self.threshold and self.kappa.low > 0 and self.rows - self.errors >= FEWEST

    def as_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {**asdict(self), "passed": self.passed}


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """Whether a judge may gate, and why not."""

    locked: bool
    reason: str
    calibration: Asset | None = None


def labels(rows: Iterable[Mapping[str, Any]], *, label: str = "label") -> list[Label]:
    """Read people's labels: each row has an answer, what was asked, perhaps what was expected, and the label.

    A label is a number from 0 to 1, true or false, "pass" or "fail".
    """
    read = []
    for number, row in enumerate(rows):
        if row.get("answer") is None or row.get(label) is None:
            missing = "answer" if row.get("answer") is None else label
            raise Invalid(f"row {number + 1} has no {missing!r}", hint='{"question": …, "answer": …, "label": true}')
        roles = {"answer", "expected", "id", label}
        expected = row.get("expected")
        sample = Sample(
            number=number, row=str(number), name=None if row.get("id") is None else str(row["id"]),
            inputs={key: value for key, value in row.items() if key not in roles},
            answer=str(row["answer"]), expected=None if expected is None else str(expected), metadata=dict(row),
        )  # fmt: skip
        read.append(Label(sample=sample, label=_number(row[label], number)))
    return _enough(read)


def labels_of_run(samples: Iterable[Sample], rows: Iterable[Mapping[str, Any]], *, label: str = "label") -> list[Label]:
    """Read people's labels of the rows of a run that a judge has scored: each has the row's `id` and the label."""
    known = {sample.label: sample for sample in samples if sample.epoch == 1}
    read = []
    for number, row in enumerate(rows):
        if (sample := known.get(str(row.get("id")))) is None or row.get(label) is None:
            what = f"no {label!r}" if row.get(label) is None else f"an id {row.get('id')!r} that the run does not have"
            raise Invalid(f"row {number + 1} has {what}", hint='{"id": "q1", "label": true}')
        read.append(Label(sample=sample, label=_number(row[label], number)))
    return _enough(read)


def recorded(name: str) -> Scorer:
    """Return a scorer that says again what the scorer of that name has said of a sample."""
    missing = Score(error=f"the run has no score {name!r}")
    return lambda sample: sample.scores.get(name, missing)


def calibrate(
    scorer: Scorer, labelled: Sequence[Label], *, repeats: int = 1, threshold: float = THRESHOLD
) -> Calibration:
    """Ask a judge about rows that people have labelled; with `repeats` above 1 the same again, for its noise."""
    if not 0 < threshold <= 1:
        raise Invalid(f"the threshold of kappa lies between 0 and 1, not at {threshold}")
    rounds = [_judged(scorer, labelled) for _ in range(max(1, repeats))]
    said = [(each, score) for each, score in zip(labelled, rounds[0], strict=True) if score.value is not None]
    if not said:
        first = rounds[0][0].error
        raise Invalid(f"the judge has graded none of {len(labelled)} rows: {first}", hint="try `studiolo model test`")
    pairs = [(_passes(score.value), _passes(each.label)) for each, score in said]
    counts = agreement.calibration(pairs)
    return Calibration(
        judge=judge_of(score for _, score in said),
        rows=len(labelled),
        errors=len(labelled) - len(said),
        kappa=agreement.cohen_kappa(pairs),
        alpha=agreement.krippendorff_alpha([(score.value, each.label) for each, score in said], level="interval"),
        sensitivity=counts.sensitivity,
        specificity=counts.specificity,
        verbosity=_verbosity(said),
        position=_position(score for _, score in said),
        noise=_noise(rounds),
        threshold=threshold,
        counts=counts,
    )


def judge_of(scores: Iterable[Score]) -> Judge:
    """Return the one judge that has given these scores; Invalid where there were several, or none."""
    found = {
        (str(score.details["rubric"]), str(score.details["model"])) for score in scores if "rubric" in score.details
    }
    if len(found) != 1:
        what = "no judge has given these scores" if not found else f"{len(found)} judges have given these scores"
        raise Invalid(what, hint="a judge is one rubric and one revision of a model")
    ((rubric, model),) = found
    return Judge(rubric=rubric, model=model)


def keep(workspace: Workspace, calibration: Calibration, *, data: Asset | str | None = None) -> Asset:
    """Keep a calibration as an asset of its judge; the newest one counts."""
    told = calibration.as_json()
    judge = calibration.judge
    properties = {
        "judge": asdict(judge),
        "passed": calibration.passed,
        "data": data if isinstance(data, str | None) else data.ref,
    }
    body = json.dumps(_plain(told), indent=2, sort_keys=True).encode()
    return workspace.assets.put("report", judge.key, body, properties={"filename": "calibration.json", **properties})


def lock_of(workspace: Workspace, judge: Judge) -> Lock:
    """Say whether a judge may gate: while its newest calibration passes. Another rubric or model is another judge."""
    try:
        asset = workspace.assets.get("report", judge.key)
    except NotFound:
        return Lock(locked=True, reason=_never(workspace, judge))
    if asset.properties.get("judge") != asdict(judge):
        return Lock(locked=True, reason=_never(workspace, judge))
    if not asset.properties.get("passed"):
        return Lock(locked=True, reason=f"its calibration {asset.ref} did not reach its threshold", calibration=asset)
    return Lock(locked=False, reason=f"calibrated: {asset.ref}", calibration=asset)


def counts_of(workspace: Workspace, asset: Asset) -> agreement.Calibration:
    """Return what `agreement.corrected_rate` corrects a judge's rate by."""
    kept = json.loads(workspace.assets.path(asset).read_text("utf-8"))
    return agreement.Calibration(**kept["counts"])


def _never(workspace: Workspace, judge: Judge) -> str:
    others = [each for each in workspace.assets.list("report") if each.name.startswith(_ASSET)]
    known = [each.properties.get("judge") or {} for each in others]
    if any(each.get("rubric") == judge.rubric for each in known):
        return f"its model has changed since it was calibrated: it is {judge.model!r} now"
    if any(each.get("model") == judge.model for each in known):
        return f"its rubric has changed since it was calibrated: it is {judge.rubric} now"
    return "it was never calibrated"


def _enough(read: list[Label]) -> list[Label]:
    if len(read) < FEWEST:
        raise Invalid(f"{len(read)} labels say little of a judge", hint=f"at least {FEWEST}, passes and failures")
    return read


def _judged(scorer: Scorer, labelled: Sequence[Label]) -> list[Score]:
    ask: Callable[[Label], Score] = lambda each: scorer(each.sample)  # noqa: E731 - typed for the pool
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return [*pool.map(ask, labelled)]


def _verbosity(said: Sequence[tuple[Label, Score]]) -> Interval | None:
    if len(said) < 4:
        return None
    lengths = [len(each.sample.answer or "") for each, _ in said]
    return agreement.verbosity_bias(
        lengths, [score.value or 0.0 for _, score in said], [each.label for each, _ in said]
    )


def _position(scores: Iterable[Score]) -> agreement.PositionBias | None:
    """Of judges of pairs only: what they said in the one order and in the other."""
    words = {"A": "first", "B": "second", "tie": "tie"}
    rows = [(words[s.details["first"]], words[s.details["second"]]) for s in scores if "consistent" in s.details]
    return agreement.position_bias(rows) if rows else None


def _noise(rounds: Sequence[Sequence[Score]]) -> float | None:
    if len(rounds) < 2:
        return None
    rows = [[_passes(score.value) for score in row if score.value is not None] for row in zip(*rounds, strict=True)]
    twice = [row for row in rows if len(row) > 1]
    return sum(len({*row}) > 1 for row in twice) / len(twice) if twice else None


def _passes(value: float | None) -> bool:
    return value is not None and value > PASSES


def _number(value: Any, number: int) -> float:
    words = {"pass": 1.0, "true": 1.0, "yes": 1.0, "good": 1.0, "fail": 0.0, "false": 0.0, "no": 0.0, "bad": 0.0}
    try:
        label = (
            words[value.strip().casefold()]
            if isinstance(value, str) and value.strip().casefold() in words
            else float(value)
        )
    except (TypeError, ValueError):
        label = math.nan
    if not 0 <= label <= 1:
        raise Invalid(
            f"the label of row {number + 1} is {value!r}", hint="a number from 0 to 1, true or false, pass or fail"
        )
    return label


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value

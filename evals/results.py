"""What a run came to: its metrics anew from its log, in words and as data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from evals import samples as logs
from evals.metrics import Metric, metrics
from evals.samples import Sample, as_text
from workspace import RunRecord
from workspace.errors import Invalid, NotFound, did_you_mean


@dataclass(frozen=True, slots=True)
class Result:
    """A run with its samples and what they come to."""

    record: RunRecord
    samples: tuple[Sample, ...]
    metrics: tuple[Metric, ...]

    @property
    def errors(self) -> tuple[Sample, ...]:
        """The samples that have no answer or lack a score."""
        return tuple(filter(logs.is_error, self.samples))


def read(record: RunRecord) -> Result:
    """Read a scored run; Invalid where it is none."""
    if record.kind != "eval":
        raise Invalid(f"run {record.name!r} is of kind {record.kind!r}", hint="studiolo eval list")
    found = logs.read(record.directory)
    reducers = _listed(record, "reduce") or ["mean"]
    return Result(record, found, metrics(found, reducers=reducers, slices=_listed(record, "slices")))


def sample(result: Result, wanted: str) -> list[Sample]:
    """Return the repeats of a sample by its id or its row, counted from 1: `sample(result, "q7")`."""
    found = [each for each in result.samples if each.name == wanted or each.row == wanted]
    if not found and wanted.isdigit():
        found = [each for each in result.samples if each.number == int(wanted) - 1]
    if not found:
        known = [each.label for each in result.samples]
        raise NotFound(f"run {result.record.name!r} has no sample {wanted!r}", hint=did_you_mean(wanted, known[:200]))
    return found


def words(found: Iterable[Metric]) -> Iterator[str]:
    """Say each metric in a line, with its interval and the smallest change that would be seen."""
    for metric in found:
        bounds = metric.interval
        told = f"{metric.name} {bounds.estimate:.3f} (95 % interval {bounds.low:.3f} to {bounds.high:.3f}"
        seen = (
            "no change could be seen" if metric.visible is None else f"a change of {metric.visible:.3f} could be seen"
        )
        errors = f", {metric.errors} errors" if metric.errors else ""
        yield f"{told}; {bounds.method}), {metric.rows} rows{errors}; {seen}"


def plain(record: RunRecord, *, with_samples: bool = False) -> dict[str, Any]:
    """Return a run as plain data."""
    result = read(record)
    found = {
        "run_id": record.run_id,
        "name": record.name,
        "status": record.status,
        "task": record.params.get("task"),
        "target": record.params.get("target"),
        "samples": len(result.samples),
        "errors": len(result.errors),
        "metrics": [asdict(each) for each in result.metrics],
        "spent": {key: record.metrics[key] for key in record.metrics if key.startswith("tokens.") or key == "cost"},
    }
    return found | ({"rows": [asdict(each) for each in result.samples]} if with_samples else {})


def transcript(each: Sample) -> Iterator[tuple[str, str]]:
    """Yield what was said about a sample, part by part: who, and what."""
    if isinstance(each.asked, list):
        yield from ((str(said.get("role", "")), as_text(said.get("content", ""))) for said in each.asked)
    elif each.asked is not None:
        yield "asked", as_text(each.asked)
    else:
        yield "asked", "\n".join(f"{name}: {as_text(value)}" for name, value in each.inputs.items())
    if each.error is not None:
        yield "error", each.error
    elif each.answer is not None:
        yield "answer", each.answer
    for name, value in each.outputs.items():
        yield name, as_text(value)
    if each.expected is not None:
        yield "expected", each.expected
    for name, score in each.scores.items():
        said = f"error: {score.error}" if score.value is None else f"{score.value:g}"
        yield name, said if not score.details else f"{said} {as_text(dict(score.details))}"


def _listed(record: RunRecord, key: str) -> list[str]:
    return [each for each in str(record.params.get(key) or "").split(",") if each]

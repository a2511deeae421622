"""Score a flow run: every finished line becomes a sample, every scorer says what it is worth."""

from __future__ import annotations

import asyncio
import csv
import json
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import flows
from evals.metrics import metrics
from evals.samples import LOG, Sample, as_line, as_text, row_id
from evals.scorers.applied import Applied, Threads
from evals.scorers.applied import scores as applied_scores
from evals.scorers.registry import Scorer
from evals.statistics.intervals import Interval
from evals.tasks.task import Limits
from workspace import Asset, RunRecord, Workspace
from workspace.errors import Invalid, NotFound, did_you_mean

CONCURRENCY = 8
SCORED_RUN = "studiolo.scored_run"

_REFERENCE = re.compile(r"^\$\{(data|run\.inputs|run\.outputs)\.([^{}]+)\}$")


@dataclass(frozen=True, slots=True)
class SampleScored:
    """One row is done."""

    sample: Sample


@dataclass(frozen=True, slots=True)
class Finished:
    """All rows are done; `metrics` has the interval of each scorer that scored any row."""

    run_id: str
    name: str
    rows: int
    errors: int
    metrics: Mapping[str, Interval]


def score(
    workspace: Workspace,
    run: RunRecord,
    scorers: Mapping[str, Scorer],
    *,
    expected: str | None = None,
    answer: str | None = None,
    name: str | None = None,
    limits: Limits = Limits(),  # noqa: B008 - frozen
) -> Iterator[SampleScored | Finished]:
    """Score the lines of a flow run as a new run of kind "eval" with one log of all samples.

    `expected` names the column of the data that holds the right answer, `"expected"` or `"${data.expected}"`;
    `answer` the flow's output, needed only where it has several. A line that failed, or that a scorer cannot judge,
    is an error of that row and no wrong answer.
    """
    if run.kind != "flow" or not run.ended:
        what = "still runs" if run.kind == "flow" else f"is no flow run but of kind {run.kind!r}"
        raise Invalid(f"run {run.name!r} {what}", hint="score a flow run that has ended")
    data = _data(workspace, run)
    rows = _rows(workspace, data)
    samples = tuple(_samples(run, rows, expected=expected, answer=answer))
    if not samples:
        raise Invalid(f"run {run.name!r} has no lines to score", hint="run the flow over data first")
    if expected is not None and all(sample.expected is None for sample in samples):
        raise NotFound(f"no row has {expected!r}", hint=did_you_mean(expected, rows[0] if rows else samples[0].inputs))
    params = {"run": run.name, "scorers": ",".join(scorers), "expected": expected or "", "answer": answer or ""}
    inputs: list[Asset | RunRecord | str] = [run, *data]
    with workspace.run("eval", name=name, inputs=inputs, params=params, tags={SCORED_RUN: run.run_id}) as scoring:
        done: list[Sample] = []
        with (scoring.directory / LOG).open("a", encoding="utf-8") as log:
            for sample in _scored(samples, scorers, limits):
                log.write(as_line(sample))
                log.flush()
                done.append(sample)
                yield SampleScored(sample)
            os.fsync(log.fileno())
        found = summarize(done)
        scoring.log_metrics(_flat(found))
        if not found:
            scoring.fail("no row could be scored")
        for model in sorted(_judges(done)):
            scoring.input(model)
    errors = sum(any(result.value is None for result in sample.scores.values()) for sample in done)
    yield Finished(scoring.run_id, scoring.name, len(done), errors, found)


def summarize(samples: Iterable[Sample]) -> Mapping[str, Interval]:
    """Return each scorer's mean with its interval: Wilson's for passes and failures, BCa for grades."""
    return {metric.scorer: metric.interval for metric in metrics(tuple(samples))}


def _scored(samples: Sequence[Sample], scorers: Mapping[str, Scorer], limits: Limits) -> Iterator[Sample]:
    """Apply scorers as a run of a task does: what raises or never ends is an error of its row."""
    applied = tuple(Applied(name, scorer) for name, scorer in scorers.items())
    threads, seconds = Threads(CONCURRENCY), limits.scorer_seconds

    async def one(sample: Sample) -> Sample:
        return replace(sample, scores=await applied_scores(sample, applied, threads, seconds=seconds))

    with asyncio.Runner() as runner:
        try:
            waiting = [runner.get_loop().create_task(one(sample)) for sample in samples]
            for task in waiting:
                yield runner.get_loop().run_until_complete(task)
        finally:
            threads.close()


def _samples(
    run: RunRecord, rows: Sequence[Mapping[str, Any]], *, expected: str | None, answer: str | None
) -> Iterator[Sample]:
    for line in flows.lines(run):
        row = rows[line.number] if line.number < len(rows) else line.inputs
        sample = Sample(number=line.number, row=row_id(row), inputs=line.inputs, name=_name(row))
        if expected is not None:
            sources = {"data": row, "run.inputs": line.inputs, "run.outputs": line.outputs or {}}
            sample = replace(sample, expected=_expected(sources, expected))
        if line.error is not None or not line.outputs:
            yield replace(sample, error=str(line.error or "the line has no outputs"))
        else:
            yield replace(sample, answer=answer_of(line.outputs, answer))


def _expected(sources: Mapping[str, Mapping[str, Any]], reference: str) -> str | None:
    found = _REFERENCE.match(reference)
    source, column = (found[1], found[2]) if found else ("data", reference)
    values = sources[source]
    return None if values.get(column) is None else as_text(values[column])


def answer_of(outputs: Mapping[str, Any], name: str | None) -> str:
    """Return the answer among the outputs of a flow: the named one, or the only one."""
    if name is None and len(outputs) == 1:
        return as_text(next(iter(outputs.values())))
    if name is None:
        raise Invalid(f"the flow has {len(outputs)} outputs", hint=f"choose one: --answer {' | '.join(outputs)}")
    if name not in outputs:
        raise NotFound(f"no output {name!r}", hint=did_you_mean(name, outputs))
    return as_text(outputs[name])


def _name(row: Mapping[str, Any]) -> str | None:
    own = row.get("id")
    return str(own) if isinstance(own, str | int) and str(own).strip() else None


def _rows(workspace: Workspace, data: Sequence[Asset]) -> list[Mapping[str, Any]]:
    """Read the rows that the run was given; without them the inputs of its lines have to do."""
    if len(data) != 1 or data[0].is_folder:
        return []
    path = workspace.assets.path(data[0])
    with path.open(encoding="utf-8-sig", newline="") as file:
        if path.suffix in (".csv", ".tsv"):
            return [*csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ",")]
        return [json.loads(line) for line in file if line.strip()]


def _data(workspace: Workspace, run: RunRecord) -> list[Asset]:
    sources = [edge.source for edge in workspace.lineage.upstream(run, depth=1)]
    return [workspace.assets.get("data", node.partition(":")[2]) for node in sources if node.startswith("data:")]


def _flat(metrics: Mapping[str, Interval]) -> dict[str, float]:
    bounds = {"": "estimate", ".low": "low", ".high": "high"}
    flat = {f"{name}{suffix}": getattr(metrics[name], bound) for name in metrics for suffix, bound in bounds.items()}
    return {name: value for name, value in flat.items() if math.isfinite(value)}


def _judges(samples: Iterable[Sample]) -> set[str]:
    models = {str(result.details.get("model", "")) for sample in samples for result in sample.scores.values()}
    return {model for model in models if model.startswith("model:")}

"""Run a task: every row is asked as often as the task says, every answer is scored, and the log is the checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from evals import asking
from evals import samples as kept_samples
from evals.cache import key_of
from evals.log import opened
from evals.metrics import Metric, metrics
from evals.samples import LOG, Sample
from evals.scorers.applied import Applied
from evals.scorers.flow import FlowScorer
from evals.targets.target import Target
from evals.tasks import rows
from evals.tasks.rows import Data, Row
from evals.tasks.task import Task
from workspace import Run, RunRecord, Workspace
from workspace.errors import Conflict, Invalid


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """How a task is run: `limit` rows of it, under a `name`; `resume` names a run to go on with."""

    limit: int | None = None
    name: str | None = None
    resume: str | None = None
    retry_errors: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Started:
    """The run exists: so many samples in all, so many of them known from before."""

    run_id: str
    name: str
    total: int
    known: int


@dataclass(frozen=True, slots=True)
class Scored:
    """Samples that are in the log."""

    samples: tuple[Sample, ...]


@dataclass(frozen=True, slots=True)
class Finished:
    """The run is over, or stopped for a `reason` and can go on."""

    run_id: str
    name: str
    samples: int
    errors: int
    metrics: tuple[Metric, ...]
    reason: str | None = None


def run(
    workspace: Workspace, task: Task, target: Target, applied: Sequence[Applied], asked: Asked
) -> Iterator[Started | Scored | Finished]:
    """Ask a target the questions of a task and score its answers, as a run of kind "eval" with one log.

    An answer that did not come, and a scorer that failed, are errors of that sample and no wrong answers. Ctrl-C, a
    limit, or an endpoint that is gone pause the run: it goes on with `resume`.
    """
    if not applied:
        raise Invalid(f"task {task.name!r} has no scorers", hint="scorers: [exact]")
    data = rows.load(workspace, task, limit=asked.limit)
    pool = rows.examples(workspace, task)
    with _recorded(workspace, task, target, data, asked) as run:
        known = _known(run, retry_errors=asked.retry_errors)
        questions = list(_questions(task, data, known))
        yield Started(run.run_id, run.name, len(data.rows) * task.epochs, len(known))
        state = asking.State(list(known.values()))
        if questions:
            with opened(run.directory) as log:
                at_work = asking.Asking(task, target, tuple(applied), pool, log, state)
                for samples in asking.news(run, at_work, questions):
                    yield Scored(samples)
        finished = _close(run, task, applied, state)
    yield finished  # the run is closed: who leaves now leaves it as it is


def task_digest(task: Task) -> str:
    """Return what tells whether a task asks and scores as it did: all of it but names, speed and limits."""
    return key_of(
        task.mapping, task.prompt, task.system, task.generate, task.choosing, task.epochs, task.seed,
        None if task.few_shot is None else [str(task.few_shot.data), task.few_shot.count, task.few_shot.seed],
        [[each.label, each.name, dict(each.settings), str(each.flow or "")] for each in task.scorings],
    ).hex()  # fmt: skip


def _questions(task: Task, data: Data, known: Mapping[tuple[int, int], Sample]) -> Iterator[tuple[Row, int]]:
    """Yield what is to be asked: all rows once, then all again, so that an early end has seen most of them."""
    for epoch in range(1, task.epochs + 1):
        for row in data.rows:
            if (row.number, epoch) not in known:
                yield row, epoch


def _known(run: Run, *, retry_errors: bool) -> dict[tuple[int, int], Sample]:
    if not (run.directory / LOG).exists():
        return {}
    found = kept_samples.read(run.directory)
    return {(each.number, each.epoch): each for each in found if not (retry_errors and kept_samples.is_error(each))}


def _recorded(
    workspace: Workspace, task: Task, target: Target, data: Data, asked: Asked
) -> AbstractContextManager[Run]:
    params: dict[str, Any] = {
        "task": task.name,
        "target": target.name,
        "scorers": ",".join(each.label for each in task.scorings),
        "epochs": task.epochs,
        "reduce": ",".join(task.reduce),
        "slices": ",".join(task.slices),
        "rows": len(data.rows),
        "task_digest": task_digest(task),
        "data_digest": data.digest,
    }
    if asked.resume is None:
        inputs: list[Any] = [*([data.asset] if data.asset else []), *target.made_of]
        return workspace.run("eval", name=asked.name, inputs=inputs, params=params, tags=asked.tags)
    earlier = workspace.runs.get(asked.resume)
    if earlier.kind != "eval":
        raise Invalid(f"run {earlier.name!r} is of kind {earlier.kind!r}", hint="name a run of `studiolo eval run`")
    for key, what in (("data_digest", "data"), ("task_digest", "task"), ("target", "target")):
        if earlier.params.get(key) != params[key]:
            hint = "put it back as it was, or start a new run"
            raise Conflict(f"the {what} changed since run {earlier.name!r}", hint=hint)
    if earlier.status != "FINISHED":
        return workspace.runs.resume(earlier.run_id)
    return _again(workspace, earlier, params, asked)


def _again(
    workspace: Workspace, earlier: RunRecord, params: Mapping[str, Any], asked: Asked
) -> AbstractContextManager[Run]:
    """Begin a run with the good samples of one that has finished: what is finished never changes."""
    found = kept_samples.read(earlier.directory)
    if not asked.retry_errors or not any(map(kept_samples.is_error, found)):
        hint = "--retry-errors asks its errors again" if not asked.retry_errors else "start a new run"
        raise Conflict(f"run {earlier.name!r} has finished", hint=hint)
    return _copied(workspace, earlier, params, asked, [each for each in found if not kept_samples.is_error(each)])


@contextmanager
def _copied(
    workspace: Workspace, earlier: RunRecord, params: Mapping[str, Any], asked: Asked, good: Sequence[Sample]
) -> Iterator[Run]:
    origins = [edge.source for edge in workspace.lineage.upstream(earlier, depth=1)]
    params = {**params, "resumed_from": earlier.run_id}
    with workspace.run("eval", name=asked.name, inputs=[*origins, earlier], params=params, tags=asked.tags) as run:
        with opened(run.directory) as log:
            for sample in good:
                log.add(sample)
        yield run


def _close(run: Run, task: Task, applied: Sequence[Applied], state: asking.State) -> Finished:
    ordered = sorted(state.done, key=lambda sample: (sample.number, sample.epoch))
    found = metrics(ordered, reducers=task.reduce, slices=task.slices)
    errors = sum(map(kept_samples.is_error, ordered))
    run.log_metrics(_flat(found) | {"samples": float(len(ordered)), "errors": float(errors)} | _spent(ordered))
    for each in applied:
        if isinstance(each.scorer, FlowScorer) and state.reason is None:
            scored = (sample.scores[each.name] for sample in ordered if each.name in sample.scores)
            run.log_metrics({f"{each.name}.{name}": value for name, value in each.scorer.metrics(scored).items()})
    for model in sorted({sample.model for sample in ordered if sample.model and sample.model.startswith("model:")}):
        run.input(model)
    if state.reason is not None:
        run.pause(state.reason)
    elif not found:
        run.fail("no sample could be scored")
    return Finished(run.run_id, run.name, len(ordered), errors, found, state.reason)


def _flat(found: Sequence[Metric]) -> dict[str, float]:
    flat: dict[str, float] = {}
    for metric in found:
        if metric.slice:
            continue
        name = metric.name.replace("@", "_at_").replace("^", "_all_")
        flat |= {
            name: metric.interval.estimate,
            f"{name}.low": metric.interval.low,
            f"{name}.high": metric.interval.high,
        }
    return {name: value for name, value in flat.items() if abs(value) != float("inf")}


def _spent(samples: Sequence[Sample]) -> dict[str, float]:
    tokens = [each.tokens for each in samples if each.tokens]
    costs = [each.cost for each in samples if each.cost is not None]
    spent = {
        "tokens.prompt": float(sum(each[0] for each in tokens)),
        "tokens.completion": float(sum(each[1] for each in tokens)),
    }
    return spent | ({"cost": sum(costs)} if costs else {})

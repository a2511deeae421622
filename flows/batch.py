"""A flow over rows: worker processes run the lines, one append-only log is the checkpoint, aggregation comes last."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from flows import approvals, snapshot, sources
from flows.aggregation import has_aggregation
from flows.connections import Connection
from flows.crew import Conditions, Crew, Ended, Task, append, crew
from flows.flow import Flow
from flows.results import COMPLETED, FAILED, LOG, WAITING, LineRecord, NodeRecord, heal, last_lines, read_log, to_json
from flows.sources import Sources
from workspace import Run, RunRecord, Workspace
from workspace.errors import Conflict, Invalid, NotFound, Unavailable


@dataclass(frozen=True, slots=True)
class Started:
    """The run exists; `total` lines are in the data (None: not known yet), `kept` of them were done before.

    `passed_over` are inputs that keep their default though the data has a column of their name.
    """

    run_id: str
    name: str
    total: int | None
    kept: int
    passed_over: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LineDone:
    """One line ended and is on the disk."""

    number: int
    status: str
    error: str | None
    duration: float


@dataclass(frozen=True, slots=True)
class Finished:
    """The run is over; `problems` are aggregation nodes that failed, `waiting` lines that a person must decide."""

    run_id: str
    name: str
    completed: int
    failed: int
    metrics: Mapping[str, float]
    problems: tuple[str, ...]
    waiting: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What to run a flow over, and how: rows of `data`, and of a `base` run its inputs and outputs.

    `resume` is a run whose completed lines are kept: it goes on itself where it was ended before its time and no
    `name` asks for a new one. `timeout` is for the whole run, in seconds.
    """

    data: Path | None = None
    base: RunRecord | None = None
    column_mapping: Mapping[str, Any] = field(default_factory=dict)
    connections: Mapping[str, Connection] = field(default_factory=dict)
    name: str | None = None
    resume: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    conditions: Conditions = field(default_factory=Conditions)
    timeout: float | None = None


@dataclass(slots=True)
class _Tally:
    completed: int = 0
    failed: int = 0
    waiting: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None
    models: set[str] = field(default_factory=set)

    def add(self, status: str, tokens: tuple[int, int], cost: float | None, models: Iterable[str]) -> None:
        self.completed += status == COMPLETED
        self.failed += status == FAILED
        self.waiting += status == WAITING
        self.prompt_tokens += tokens[0]
        self.completion_tokens += tokens[1]
        self.cost = self.cost if cost is None else (self.cost or 0.0) + cost
        self.models.update(models)

    def metrics(self, flow: Flow) -> dict[str, float]:
        found = {
            "lines.completed": self.completed,
            "lines.failed": self.failed,
            "tokens.prompt": self.prompt_tokens,
            "tokens.completion": self.completion_tokens,
        } | ({"lines.waiting": self.waiting} if any(node.type == "approval" for node in flow.nodes) else {})
        return {name: float(value) for name, value in found.items()} | (
            {} if self.cost is None else {"cost": self.cost}
        )


def run(
    workspace: Workspace, flow: Flow, batch: Batch, *, workers: Crew | None = None
) -> Iterator[Started | LineDone | Finished]:
    """Run a flow over rows as a run of kind "flow".

    A line that fails is recorded with its error and the rest go on. Closing the generator ends the run as KILLED.
    `workers` are processes started before.
    """
    if not flow.inputs:
        raise Invalid("a flow without inputs cannot run over rows", hint="use `studiolo flow test`")
    rows = _sources(workspace, batch)
    rows.check(flow, batch.column_mapping)
    with _recorded(workspace, flow, batch, rows) as (run, log):
        heal(log)
        tally = _Tally()
        kept, again = _kept(run, log, tally)
        passed_over = tuple(rows.passed_over(flow, batch.column_mapping))
        yield Started(run.run_id, run.name, rows.count(), len(kept), passed_over)
        conditions = replace(batch.conditions, log=log, output=run.directory / "worker.log", home=workspace.home,
                             images=run.directory / sources.IMAGES)  # fmt: skip
        deadline = time.monotonic() + batch.timeout if batch.timeout else None
        with crew(flow, batch.connections, conditions, started=workers) as crew_:
            failures: list[Ended] = []
            tasks = _tasks(rows.lines(flow, batch.column_mapping), kept, again, log, failures)
            for ended in crew_.run(tasks):
                for each in (*failures, ended):
                    tally.add(each.status, each.tokens, each.cost, each.models)
                    yield LineDone(each.number, each.status, each.error, each.duration)
                failures.clear()
                if deadline is not None and time.monotonic() > deadline:
                    raise Unavailable(
                        f"the run took longer than {batch.timeout:g} seconds", hint="what has ended is kept"
                    )
            for each in failures:
                tally.add(each.status, each.tokens, each.cost, each.models)
                yield LineDone(each.number, each.status, each.error, each.duration)
            yield _close(flow, run, log, tally, crew_)


def lines(run: RunRecord) -> Iterator[LineRecord]:
    """Yield the lines of a flow run in line order; a line that ran again after a resume once, as it ended last."""
    return last_lines(run.directory / LOG)


@contextmanager
def _recorded(workspace: Workspace, flow: Flow, batch: Batch, rows: Sources) -> Iterator[tuple[Run, Path]]:
    flow_asset = snapshot.keep(workspace, flow.name, flow.folder)
    origins: list[Any] = [flow_asset]
    params: dict[str, Any] = {
        "flow": flow_asset.ref,
        "variant": flow.variant or "",
        "column_mapping": dict(batch.column_mapping),
        "flow_digest": flow.digest,
    }
    if batch.data is not None:
        data_asset = workspace.assets.put("data", snapshot.asset_name(batch.data.stem), batch.data)
        origins.append(data_asset)
        params["data"] = data_asset.ref
        params |= rows.remembered(flow)
    if batch.base is not None:
        origins.append(batch.base.ref)
        params["run"] = batch.base.run_id
    with _begun(workspace, batch, origins, params) as run:
        yield run, run.directory / LOG


def _begun(
    workspace: Workspace, batch: Batch, origins: list[Any], params: dict[str, Any]
) -> AbstractContextManager[Run]:
    if batch.resume is None:
        return workspace.run("flow", name=batch.name, inputs=origins, params=params, tags=batch.tags)
    earlier = workspace.runs.get(batch.resume)
    if earlier.kind != "flow":
        raise NotFound(f"{batch.resume!r} is a run of kind {earlier.kind!r}, not of a flow")
    changed = [key for key in ("flow_digest", "run") if earlier.params.get(key) != params.get(key)]
    if _mapping(earlier.params) != _mapping(params):
        changed.append("column mapping")
    if _digest(workspace, earlier.params.get("data")) != _digest(workspace, params.get("data")):
        changed.append("data")
    if changed:
        hint = "put it back as it was, or start a new run"
        raise Conflict(f"the {' and the '.join(changed)} changed since run {earlier.name!r}", hint=hint)
    if batch.name in (None, earlier.name) and earlier.status not in ("FINISHED", "RUNNING"):
        return workspace.runs.resume(earlier.run_id)
    return _copied(workspace, earlier, batch, [*origins, earlier.ref], params)


@contextmanager
def _copied(
    workspace: Workspace, earlier: RunRecord, batch: Batch, origins: list[Any], params: dict[str, Any]
) -> Iterator[Run]:
    if earlier.status == "RUNNING":
        raise Conflict(f"run {earlier.name!r} still runs", hint="wait for it, or stop it first")
    params = params | {"resumed_from": earlier.run_id}
    with workspace.run("flow", name=batch.name, inputs=origins, params=params, tags=batch.tags) as run:
        with (run.directory / LOG).open("wb") as log:
            for line in read_log(earlier.directory / LOG):
                if line.status == COMPLETED:
                    log.write(to_json(line))
        yield run


def _kept(run: Run, log: Path, tally: _Tally) -> tuple[set[int], dict[int, dict[str, Any]]]:
    """Return the lines that need not run, and for those a person has decided what is known of their nodes."""
    kept: set[int] = set()
    decided = approvals.decisions(run.directory)
    again: dict[int, dict[str, Any]] = {}
    for line in last_lines(log):
        if line.status == COMPLETED or (line.status == WAITING and not approvals.is_decided(line, decided)):
            kept.add(line.number)
            status, _, _, tokens, cost, models = line.summary()
            tally.add(status, tokens, cost, models)
        elif line.status == WAITING:
            again[line.number] = approvals.known(line, decided)
    return kept, again


def _tasks(
    lines: Iterator[tuple[int, dict[str, Any] | str]],
    kept: set[int],
    again: Mapping[int, Mapping[str, Any]],
    log: Path,
    failures: list[Ended],
) -> Iterator[Task]:
    """Yield what must run; a row that cannot be read or converted is written as a failed line instead."""
    for number, inputs in lines:
        if number in kept:
            continue
        if not isinstance(inputs, str):
            yield Task(number, inputs, again.get(number))
            continue
        line = LineRecord(number=number, status=FAILED, inputs={}, outputs=None, error=inputs, nodes=(), duration=0.0)
        append(log, line)
        failures.append(Ended(number, *line.summary()))


def _sources(workspace: Workspace, batch: Batch) -> Sources:
    earlier = workspace.runs.get(batch.resume) if batch.resume else None
    return sources.of(workspace, batch.data, batch.base, folder=earlier.params.get(sources.FOLDER) if earlier else None)


def _close(flow: Flow, run: Run, log: Path, tally: _Tally, workers: Crew) -> Finished:
    for model in sorted(tally.models):
        if model.startswith("model:"):  # one of ours; what others serve has a name alone
            run.input(model)
    metrics: dict[str, float] = {}
    records: tuple[NodeRecord, ...] = ()
    if tally.waiting:
        run.pause(f"{tally.waiting} lines wait for a decision")
    elif tally.completed and has_aggregation(flow):
        records, metrics = workers.aggregate(log)
    run.log_metrics({**metrics, **tally.metrics(flow)})
    problems = tuple(f"node {record.name!r}: {record.error}" for record in records if record.status == FAILED)
    return Finished(run.run_id, run.name, tally.completed, tally.failed, metrics, problems, tally.waiting)


def _mapping(params: Mapping[str, Any]) -> Any:
    written = params.get("column_mapping") or {}
    return json.loads(written if isinstance(written, str) else json.dumps(written, default=str))


def _digest(workspace: Workspace, ref: str | None) -> str | None:
    return workspace.assets.get("data", ref).digest if ref else None

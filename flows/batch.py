"""A flow over rows: bounded slots, one append-only log that is the checkpoint, aggregation at the end."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows import mapping as columns
from flows.connections import Connection
from flows.crew import Worker, worker
from flows.flow import Flow
from flows.data import rows
from flows.results import COMPLETED, FAILED, LOG, LineRecord, NodeRecord, heal, read_log, to_json
from workspace import Run, RunRecord, Workspace
from workspace.errors import Conflict, Invalid, NotFound

CONCURRENCY = 16


@dataclass(frozen=True, slots=True)
class Started:
    """The run exists; `total` lines are in the data, `kept` of them were done before."""

    run_id: str
    name: str
    total: int
    kept: int


@dataclass(frozen=True, slots=True)
class LineDone:
    """One line ended and is on the disk."""

    number: int
    status: str
    error: str | None
    duration: float


@dataclass(frozen=True, slots=True)
class Finished:
    """The run is over; `problems` are aggregation nodes that failed."""

    run_id: str
    name: str
    completed: int
    failed: int
    metrics: Mapping[str, float]
    problems: tuple[str, ...]


def run(
    workspace: Workspace,
    flow: Flow,
    data: Path,
    *,
    column_mapping: Mapping[str, str] | None = None,
    connections: Mapping[str, Connection],
    name: str | None = None,
    concurrency: int = CONCURRENCY,
    resume: str | None = None,
) -> Iterator[Started | LineDone | Finished]:
    """Run a flow over the rows of a file as a run of kind "flow".

    A line that fails is recorded with its error and the rest go on. `resume` is the id of a run that was ended
    before its time: its completed lines are kept, all others run. Closing the generator ends the run as KILLED.
    """
    mapping = dict(column_mapping or {})
    columns.check(flow, mapping)
    if not flow.inputs:
        raise Invalid("a flow without inputs cannot run over rows", hint="use `studiolo flow test`")
    total = sum(1 for _ in rows(data))
    with _recorded(workspace, flow, data, mapping, name, resume) as run:
        path = run.directory / LOG
        heal(path)
        kept = {line.number for line in read_log(path) if line.status == COMPLETED}
        yield Started(run.run_id, run.name, total, len(kept))
        run.log_params({"lines": total})
        output = run.directory / "worker.log"
        # Unbuffered: each line is one write, and on its way to the disk before it is told of.
        with (
            worker(flow, connections, concurrency=concurrency, log=output) as crew,
            path.open("ab", buffering=0) as log,
        ):
            for line in _lines(crew, flow, data, mapping, kept, concurrency):
                log.write(to_json(line))
                yield LineDone(line.number, line.status, line.error, line.duration)
            yield _close(workspace, flow, run, crew)


def lines(run: RunRecord) -> Iterator[LineRecord]:
    """Yield the lines of a flow run in line order; a line that ran again after a resume once, as it ended last."""
    last = {line.number: line for line in read_log(run.directory / LOG)}
    for number in sorted(last):
        yield last[number]


def _recorded(
    workspace: Workspace, flow: Flow, data: Path, mapping: Mapping[str, str], name: str | None, resume: str | None
) -> AbstractContextManager[Run]:
    flow_asset = workspace.assets.put("flow", _asset_name(flow.name), flow.folder)
    data_asset = workspace.assets.put("data", _asset_name(data.stem), data)
    params: dict[str, Any] = {
        "flow": flow_asset.ref,
        "data": data_asset.ref,
        "variant": flow.variant or "",
        "column_mapping": dict(mapping),
        "flow_digest": flow.digest,
    }
    if resume is None:
        return workspace.run("flow", name=name, inputs=[flow_asset, data_asset], params=params)
    earlier = workspace.runs.get(resume)
    if earlier.kind != "flow":
        raise NotFound(f"{resume!r} is a run of kind {earlier.kind!r}, not of a flow")
    changed = [key for key in ("flow_digest", "data") if earlier.params.get(key) != params[key]]
    if changed:
        hint = "put it back as it was, or start a new run"
        raise Conflict(f"the {' and the '.join(changed)} changed since run {earlier.name!r}", hint=hint)
    return workspace.runs.resume(earlier.run_id)


def _lines(
    crew: Worker, flow: Flow, data: Path, mapping: Mapping[str, str], kept: set[int], concurrency: int
) -> Iterator[LineRecord]:
    running = 0
    for number, row in enumerate(rows(data)):
        if number in kept:
            continue
        try:
            inputs = columns.inputs_of(flow, {"data": row}, mapping)
        except ValueError as error:
            yield LineRecord(
                number=number, status=FAILED, inputs={}, outputs=None, error=str(error), nodes=(), duration=0.0
            )
            continue
        if running == concurrency:
            yield crew.receive_line()
            running -= 1
        crew.send_line(number, inputs)
        running += 1
    for _ in range(running):
        yield crew.receive_line()


def _close(workspace: Workspace, flow: Flow, run: Run, crew: Worker) -> Finished:
    ended = lines(workspace.runs.get(run.run_id))
    completed = failed = 0
    lists: dict[str, list[Any]] = _lists(flow)
    tokens = [0, 0]
    models: set[str] = set()
    for line in ended:
        for node in line.nodes:
            tokens = [tokens[0] + node.tokens[0], tokens[1] + node.tokens[1]]
            if node.model:
                models.add(node.model)
        if line.status != COMPLETED:
            failed += 1
            continue
        completed += 1
        outputs = {node.name: node.output for node in line.nodes}
        for name, values in lists.items():
            source = name.removeprefix("inputs.")
            values.append(line.inputs.get(source) if name.startswith("inputs.") else outputs.get(name))
    for model in sorted(models):
        run.input(model)
    metrics: dict[str, float] = {}
    records: tuple[NodeRecord, ...] = ()
    if any(node.aggregation for node in flow.nodes) and completed:
        records, metrics = crew.aggregate(lists)
    counts = {
        "lines.completed": completed,
        "lines.failed": failed,
        "tokens.prompt": tokens[0],
        "tokens.completion": tokens[1],
    }
    run.log_metrics({**metrics, **{key: float(value) for key, value in counts.items()}})
    problems = tuple(f"node {record.name!r}: {record.error}" for record in records if record.status == FAILED)
    return Finished(run.run_id, run.name, completed, failed, metrics, problems)


def _lists(flow: Flow) -> dict[str, list[Any]]:
    aggregations = {node.name for node in flow.nodes if node.aggregation}
    found: dict[str, list[Any]] = {}
    for node in flow.nodes:
        if node.aggregation:
            for reference in node.references():
                if reference.is_input:
                    found[f"inputs.{reference.path[0]}"] = []
                elif reference.source not in aggregations:
                    found[reference.source] = []
    return found


def _asset_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-.") or "flow"

"""Flows over rows from the door: what was asked for on the command line or in a run YAML becomes a run."""

from __future__ import annotations

import getpass
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import flows
from flows import approvals, overrides
from flows.crew import Conditions, Crew
from jobs.ray.computes import address_of
from studiolo.flow_connections import connections_for, resolve_variables, revisions
from studiolo.flow_tests import load
from workspace import Workspace
from workspace.errors import Conflict, Invalid, NotFound

Event = flows.Started | flows.LineDone | flows.Finished


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a person asked for; what stands in `file`, a run YAML, is used where nothing else is said."""

    flow: str | None = None
    data: Path | None = None
    file: Path | None = None
    run: str | None = None
    mapping: Mapping[str, Any] = field(default_factory=dict)
    variant: str | None = None
    name: str | None = None
    resume: str | None = None
    connections: Mapping[str, str] = field(default_factory=dict)  # "node.key": value
    environment: Mapping[str, str] = field(default_factory=dict)
    init: Mapping[str, Any] = field(default_factory=dict)
    pins: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    cassette: tuple[Path, str] | None = None
    workers: int | None = None  # one, and on a cluster as many as its largest machine has cores
    compute: str = ""  # "ray", an address, a compute of the workspace: a cluster that runs the lines
    concurrency: int | None = None
    timeout: float | None = None
    traces: bool = False  # its lines will be told as traces


def run(workspace: Workspace, asked: Asked, workers: Crew | None = None) -> Iterator[Event]:
    """Run what was asked for; `workers` are processes started before."""
    if asked.file is not None:
        asked = _with_file(asked, asked.file)
    if asked.flow is None:
        if asked.resume is None:
            raise Invalid("which flow?", hint="give --flow, --file or --resume-from")
        asked = _with_earlier(workspace, asked)
    assert asked.flow is not None  # noqa: S101 - given, or taken from the earlier run
    flow = overrides.with_pins(load(asked.flow, variant=asked.variant), asked.pins)
    flow = overrides.with_connections(flow, _by_node(asked.connections))
    replays = asked.cassette is not None and asked.cassette[1] == "replay"
    settings = workspace.settings
    with (
        connections_for(flow, lambda: workspace, replays=replays) as connections,
        _placed(workspace, asked, flow.folder, workers) as crew,
    ):
        batch = flows.Batch(
            data=asked.data,
            base=workspace.runs.get(asked.run) if asked.run else None,
            column_mapping=asked.mapping,
            connections=connections,
            name=asked.name,
            resume=asked.resume,
            tags={**asked.tags, _FOLDER: str(flow.folder)},
            timeout=asked.timeout or settings.batch_timeout or None,
            conditions=Conditions(
                concurrency=asked.concurrency or settings.line_concurrency,
                workers=asked.workers or 1,
                line_timeout=settings.line_timeout,
                environment=resolve_variables(flow, connections) | dict(asked.environment),
                init=asked.init,
                cassette=asked.cassette,
                revisions=revisions(flow, lambda: workspace),
                traces=asked.traces,
            ),
        )
        yield from flows.run(workspace, flow, batch, workers=crew)


@contextmanager
def _placed(workspace: Workspace, asked: Asked, folder: Path, workers: Crew | None) -> Iterator[Crew | None]:
    """Have the processes where they are asked for: here those that were started before, or on a cluster."""
    address = address_of(workspace, asked.compute) if asked.compute else None
    if address is None:
        yield workers
        return
    from jobs.ray.flow_workers import flow_workers  # here: most flows need no HTTP

    with flow_workers(workspace.settings, address, folder) as away:
        yield Crew(asked.workers or away.cores, hire=away.hire)


def resume(workspace: Workspace, name: str, workers: Crew | None = None) -> Iterator[Event]:
    """Go on with a run as it was asked for."""
    record = workspace.runs.get(name)
    if record.status == "FINISHED" and not record.metrics.get("lines.failed"):
        raise Conflict(f"run {record.name!r} has finished and no line of it failed", hint="start a new run")
    yield from run(workspace, Asked(resume=name), workers)


def questions(workspace: Workspace, name: str) -> list[approvals.Question]:
    """Return what a paused run waits for."""
    return approvals.waiting(workspace.runs.get(name).directory)


def decide(
    workspace: Workspace,
    name: str,
    *,
    approved: bool,
    node: str | None = None,
    line: int | None = None,
    comment: str = "",
) -> int:
    """Decide what a run waits for; return how many of its lines can go on. The audit keeps who did."""
    record = workspace.runs.get(name)
    if node is None:
        asking = {question.node for question in approvals.waiting(record.directory)}
        if len(asking) != 1:
            said = f"several nodes ask: {', '.join(sorted(asking))}" if asking else f"run {name!r} waits for nothing"
            raise Invalid(said, hint="name one with --node" if asking else None)
        node = asking.pop()
    decision = approvals.Decision(node=node, approved=approved, line=line, comment=comment, by=getpass.getuser())
    decided = approvals.decide(record.directory, decision)
    with workspace.database.write() as connection:
        after = {"node": node, "line": line, "comment": comment}
        workspace.audit.record(connection, "flow.approve" if approved else "flow.refuse", record.ref, after=after)
    return decided


def resume_detached(workspace: Workspace, name: str) -> None:
    """Go on with a run in a process of its own, which outlives us; its log lies beside the run's."""
    record = workspace.runs.get(name)
    with (record.directory / "resume.log").open("ab") as output:
        subprocess.Popen(
            [sys.executable, "-P", "-m", "studiolo", "flow", "resume", record.run_id],
            env=os.environ | workspace.settings.environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def send_trace(workspace: Workspace, run_id: str, *, to: str) -> int:
    """Send the trace of a run's lines on, "mlflow" or "otlp", and return how many lines those are."""
    from studiolo import traces

    sent = 0
    for event in traces.send(workspace, traces.of_run(workspace.runs.get(run_id)), to=to):
        sent = event.lines
    return sent


_FOLDER = "flow.folder"


def _with_file(asked: Asked, path: Path) -> Asked:
    from flows import run_file

    given = run_file.read(path)
    return replace(
        asked,
        flow=asked.flow or (str(given.flow) if given.flow else None),
        data=asked.data or given.data,
        run=asked.run or given.run,
        mapping={**given.column_mapping, **asked.mapping},
        variant=asked.variant or given.variant,
        name=asked.name or given.name,
        resume=asked.resume or given.resume_from,
        connections={
            **{f"{node}.{key}": value for node, keys in given.connections.items() for key, value in keys.items()},
            **asked.connections,
        },
        environment={**given.environment_variables, **asked.environment},
        init={**given.init, **asked.init},
        tags={**given.tags, **asked.tags},
    )


def _with_earlier(workspace: Workspace, asked: Asked) -> Asked:
    """Fill in what the run to go on with was asked for."""
    assert asked.resume is not None  # noqa: S101 - the caller looked
    earlier = workspace.runs.get(asked.resume)
    folder = earlier.tags.get(_FOLDER)
    if folder is None or not Path(folder).exists():
        raise NotFound(f"the folder of run {earlier.name!r} is gone: {folder}", hint="give --flow")
    mapping = earlier.params.get("column_mapping") or "{}"
    data = earlier.params.get("data")
    return replace(
        asked,
        flow=folder,
        data=asked.data or (workspace.assets.path(workspace.assets.get("data", data)) if data else None),
        run=asked.run or earlier.params.get("run"),
        mapping=asked.mapping or (json.loads(mapping) if isinstance(mapping, str) else mapping),
        variant=asked.variant or earlier.params.get("variant") or None,
    )


def _by_node(given: Mapping[str, str]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for key, value in given.items():
        node, dot, name = key.partition(".")
        if not dot:
            raise Invalid(f"{key!r} names no node and key", hint="write ask.connection=mine or ask.model=small")
        found.setdefault(node, {})[name] = value
    return found

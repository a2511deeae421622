"""Flows in evaluations: what they need of the workspace is gathered, as target and as scorer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from evals.scorers.flow import FlowScorer
from evals.targets.flow import FlowTarget
from evals.tasks.task import Scoring, Task
from flows import snapshot
from flows.crew import Conditions
from flows.flow import Flow
from studiolo.flow_connections import connections_for, resolve_variables, revisions
from studiolo.flow_tests import load
from workspace import Workspace


@contextmanager
def target(workspace: Workspace, task: Task, said: Mapping[str, Any]) -> Iterator[FlowTarget]:
    """Give a flow that answers, with its connections; the gateway is there as long as the block where it needs one."""
    where = str(said["flow"])
    beside = task.folder / where
    flow = load(str(beside) if beside.exists() else where, variant=said.get("variant"))
    with connections_for(flow, lambda: workspace) as connections:
        yield FlowTarget(
            flow=flow,
            connections=connections,
            conditions=_conditions(workspace, task, flow, connections),
            epochs=task.epochs,
            output=said.get("answer"),
            made_of=(snapshot.keep(workspace, flow.name, flow.folder).ref,),
        )


@contextmanager
def scorer(workspace: Workspace, task: Task, asked: Scoring) -> Iterator[FlowScorer]:
    """Give a flow that judges, and end its processes after the block."""
    flow = load(asked.flow or Path(asked.name))
    with connections_for(flow, lambda: workspace) as connections:
        conditions = _conditions(workspace, task, flow, connections)
        made = FlowScorer(flow=flow, connections=connections, mapping=asked.mapping, conditions=conditions)
        try:
            yield made
        finally:
            made.close()


def _conditions(workspace: Workspace, task: Task, flow: Flow, connections: Mapping[str, Any]) -> Conditions:
    return Conditions(
        concurrency=task.concurrency,
        line_timeout=task.limits.sample_seconds,
        home=workspace.home.absolute(),
        environment=resolve_variables(flow, connections),
        revisions=revisions(flow, lambda: workspace),
    )

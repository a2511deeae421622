"""A flow tried once, kept in the workspace so that what each node did can be looked at again and sent to others."""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import flows
from flows.crew import Conditions
from flows.results import node_from
from studiolo.flow_connections import connections_for, resolve_variables, revisions
from studiolo.flow_shelf import flow_folder
from studiolo.flow_tests import keep_trace
from workspace.errors import NotFound
from workspace.home import Workspace
from workspace.paths import write_atomically

_ID = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One try: what was given, and what every node made of it."""

    id: str
    flow: str  # as `flow_folders` calls it
    variant: str | None
    inputs: Mapping[str, Any]
    tried_at: float
    seconds: float
    result: flows.FlowResult


def try_flow(workspace: Workspace, ref: str, inputs: Mapping[str, Any], *, variant: str | None = None) -> Trial:
    """Run a flow once through the gateway (a private one where none runs) and keep what happened."""
    flow = flows.load(flow_folder(workspace, ref).path, variant=variant)
    started = time.time()
    with connections_for(flow, lambda: workspace) as connections:
        conditions = Conditions(
            line_timeout=workspace.settings.line_timeout,
            home=workspace.home,
            environment=resolve_variables(flow, connections),
            revisions=revisions(flow, lambda: workspace),
            traces=True,
        )
        result = flows.test(flow, inputs, connections=connections, conditions=conditions)
        keep_trace(workspace.home, flow, connections, inputs, result, started_at=started)
    trial = Trial(
        id=secrets.token_hex(8), flow=ref, variant=variant, inputs=dict(inputs),
        tried_at=started, seconds=time.time() - started, result=result,
    )  # fmt: skip
    write_atomically(_path(workspace, trial.id), json.dumps(asdict(trial), ensure_ascii=False, default=repr))
    return trial


def load_trial(workspace: Workspace, identifier: str) -> Trial:
    """Return a try that was kept; NotFound where there is none."""
    path = _path(workspace, identifier)
    if not path.exists():
        raise NotFound(f"no try {identifier!r}", hint="it may have been made in another workspace")
    content = json.loads(path.read_text())
    result = content.pop("result")
    nodes = tuple(node_from(node) for node in result.pop("nodes"))
    return Trial(**content, result=flows.FlowResult(**result, nodes=nodes))


def _path(workspace: Workspace, identifier: str) -> Path:
    if not _ID.fullmatch(identifier):
        raise NotFound(f"no try {identifier!r}", hint="the address may have been cut short")
    return workspace.home / "trials" / f"{identifier}.json"

"""Trying a flow from the door: what it needs is gathered, it runs once, and what happened is kept as a trace."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import flows
from flows import overrides
from flows.connections import Connection
from flows.crew import Conditions, Crew
from flows.flow import MISSING
from studiolo.flow_connections import connections_for, resolve_variables, revisions
from workspace.errors import Invalid
from workspace.paths import write_atomically, writing
from workspace.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from workspace import Workspace

_KEPT = "flow:"
_ENTRY = re.compile(r"^[\w.]+:\w+$")


@dataclass(frozen=True, slots=True)
class Prepared:
    """A flow with everything it needs to run; `workspace` opens the workspace where something must be kept."""

    flow: flows.Flow
    connections: Mapping[str, Connection]
    conditions: Conditions
    workspace: Callable[[], Workspace] = field(repr=False)


def load(where: str | Path, *, variant: str | None = None) -> flows.Flow:
    """Load a flow by its folder, its file, "flow:NAME@label" as it is kept, or its entry, "module:function"."""
    if isinstance(where, str) and not Path(where).exists():
        if where.startswith(_KEPT) and not Path("flow.py").exists():
            return _kept(where, variant)
        if _ENTRY.match(where):
            from flows import flex

            made: flows.Flow = flex.from_entry(Path.cwd(), where)
            return made
    return flows.load(where, variant=variant)


def _kept(ref: str, variant: str | None) -> flows.Flow:
    from workspace import Workspace

    with Workspace.open() as workspace:
        asset = workspace.assets.get("flow", ref)
        folder = workspace.assets.path(asset)
    flow = flows.load(folder, variant=variant)
    return replace(flow, name=asset.name) if flow.name == flow.folder.name else flow


@contextmanager
def prepared(
    where: str | Path,
    *,
    variant: str | None = None,
    pins: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    init: Mapping[str, Any] | None = None,
    cassette: tuple[Path, str] | None = None,
) -> Iterator[Prepared]:
    """Load a flow and gather what it needs. A workspace is opened only where the flow needs one."""
    flow = overrides.with_pins(load(where, variant=variant), pins or {})
    replays = cassette is not None and cassette[1] == "replay"
    with ExitStack() as stack:
        opened: list[Workspace] = []

        def workspace() -> Workspace:
            if not opened:
                from workspace import Workspace

                opened.append(stack.enter_context(Workspace.open()))
            return opened[0]

        connections = stack.enter_context(connections_for(flow, workspace, replays=replays))
        settings = Settings.from_environment()
        conditions = Conditions(
            line_timeout=settings.line_timeout,
            home=settings.home.absolute(),
            environment=resolve_variables(flow, connections) | dict(environment or {}),
            init=init or {},
            cassette=cassette,
            revisions=revisions(flow, workspace),
            traces=True,
        )
        yield Prepared(flow, connections, conditions, workspace)


def once(
    ready: Prepared,
    inputs: Mapping[str, Any],
    *,
    node: str | None = None,
    workers: Crew | None = None,
    trace: str | None = None,
) -> flows.FlowResult:
    """Run the flow, or one node of it, once, and keep its trace; `trace` says where that goes as well.

    Inputs its author gave as a sample are used where none are given.
    """
    run = flows.test if node is None else _node(node)
    given = inputs or (dict(ready.flow.sample) if node is None else {})
    started = time.time()
    result = run(ready.flow, given, connections=ready.connections, conditions=ready.conditions, workers=workers)
    home = ready.conditions.home
    if home is not None and (home.is_dir() or trace):
        kept = keep_trace(home, ready.flow, ready.connections, given, result, started_at=started)
        if trace is not None:
            _send(ready.workspace(), kept, to=trace)
    return result


def keep_trace(
    home: Path,
    flow: flows.Flow,
    connections: Mapping[str, Connection],
    inputs: Mapping[str, Any],
    result: flows.FlowResult,
    *,
    started_at: float,
) -> str:
    """Keep what a flow that was tried just now did as a trace of the workspace, and return its id."""
    from flows.masking import Mask
    from flows.results import LineRecord
    from flows.serve import log as serve_log

    defaults = {name: each.default for name, each in flow.inputs.items() if each.default is not MISSING}
    line = LineRecord(
        number=0,
        status=result.status,
        inputs={**defaults, **inputs},
        outputs=result.outputs or None,
        error=result.error,
        nodes=result.nodes,
        duration=time.time() - started_at,
        trace=result.trace,
    )
    return serve_log.keep_test(
        home, flow=flow.name, digest=flow.digest, line=line, started_at=started_at, mask=Mask(connections.values())
    )


def write_detail(result: flows.FlowResult, folder: Path) -> None:
    """Write flow.detail.json, flow.output.json and flow.metrics.json, as `pf flow test` does."""
    from flows.results import node_fields

    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for name, content in (
        ("detail", {"status": result.status, "error": result.error, "nodes": [node_fields(n) for n in result.nodes]}),
        ("output", result.outputs),
        ("metrics", result.metrics),
    ):
        write_atomically(folder / f"flow.{name}.json", json.dumps(content, ensure_ascii=False, indent=2, default=repr))


def page(where: str) -> str:
    """Return the address of the flow's page in the studio; Invalid where the studio does not run."""
    from urllib.parse import quote

    from studiolo.flow_shelf import flow_folders
    from studiolo.services import HOST, read_house
    from workspace import Workspace

    with Workspace.open() as workspace:
        house = read_house(workspace.home)
        if house is None or not house.standing:
            raise Invalid("the studio does not run", hint="studiolo up")
        folder = load(where).folder
        known = [each.ref for each in flow_folders(workspace) if Path(each.path).resolve() == folder]
        port = workspace.settings.studio_port
    return f"http://{HOST}:{port}/flows" + (f"?flow={quote(known[0])}" if known else "")


def _node(name: str) -> Any:
    def run(flow: flows.Flow, inputs: Mapping[str, Any], **rest: Any) -> flows.FlowResult:
        return flows.test_node(flow, name, inputs, **rest)

    return run


def _send(workspace: Workspace, name: str, *, to: str) -> None:
    from flows.serve import log as serve_log
    from studiolo import traces

    mine = (each for each in serve_log.served(workspace.home) if each.id == name)
    for _ in traces.send(workspace, [told for each in mine if (told := traces.of_request(each))], to=to):
        pass

"""Finding runs again: by kind, status and name; the lines of one; its page in MLflow."""

from __future__ import annotations

from collections.abc import Collection
from itertools import islice

import flows
from studiolo.services import read_house
from workspace.home import Workspace
from workspace.runs import RunRecord


def find_runs(
    workspace: Workspace,
    *,
    kinds: Collection[str] = (),
    statuses: Collection[str] = (),
    text: str = "",
    limit: int = 10_000,
) -> list[RunRecord]:
    """Return the newest runs that are of one of the kinds, in one of the states, and have `text` in their name."""
    wanted = text.casefold().strip()
    return [
        run
        for run in workspace.runs.list(limit=limit)
        if (not kinds or run.kind in kinds)
        and (not statuses or run.status in statuses)
        and wanted in run.name.casefold()
    ]


def flow_lines(run: RunRecord, *, limit: int = 10_000) -> list[flows.LineRecord]:
    """Return the lines of a flow run in their order, at most `limit`."""
    return list(islice(flows.lines(run), limit))


def mlflow_address(workspace: Workspace, run: RunRecord) -> str | None:
    """Return the address of a run in the MLflow that runs now, or None where none does."""
    house = read_house(workspace.home)
    if house is None or not house.standing:
        return None
    port = next((each.port for each in house.services if each.name == "mlflow"), None)
    return None if port is None else f"http://127.0.0.1:{port}/#/runs/{run.run_id}"


def starting_points(workspace: Workspace, *, limit: int = 300) -> dict[str, str]:
    """Return what one may look up the lineage of, newest first: {"report:demo:1": "report demo:1", …}."""
    found = [
        (asset.created_at, asset.ref, f"{asset.kind} {asset.name}:{asset.version}") for asset in workspace.assets.list()
    ]
    found += [(run.started_at, run.ref, f"{run.kind} run {run.name}") for run in workspace.runs.list(limit=limit)]
    return {ref: label for _, ref, label in sorted(found, reverse=True)[:limit]}

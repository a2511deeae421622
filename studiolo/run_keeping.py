"""What may change about a run once it is over: its words, whether it is put away, whether it is kept at all."""

from __future__ import annotations

import shutil
from collections.abc import Mapping

from sqlalchemy import Connection, delete, select, update

from workspace import Workspace
from workspace.errors import Conflict
from workspace.run_names import refuse_names
from workspace.runs import RunRecord
from workspace.tables import edges, metrics, runs

ARCHIVED = "archived"


def describe(workspace: Workspace, name: str, tags: Mapping[str, str | None]) -> RunRecord:
    """Set tags of a run; None takes one away."""
    record = workspace.runs.get(name)
    refuse_names(tags)

    def work(connection: Connection) -> None:
        chosen = runs.c.run_id == record.run_id
        known = dict(connection.execute(select(runs.c.tags).where(chosen).with_for_update()).scalar_one())
        said = {key: str(value) for key, value in (known | dict(tags)).items() if value is not None}
        connection.execute(update(runs).where(chosen).values(tags=said, changed=runs.c.changed + 1))

    workspace.database.transact(work)
    return workspace.runs.get(record.run_id)


def archive(workspace: Workspace, name: str) -> RunRecord:
    """Put a run away: it is listed only where somebody asks for archived runs."""
    return describe(workspace, name, {ARCHIVED: "true"})


def restore(workspace: Workspace, name: str) -> RunRecord:
    """Take a run out of the archive."""
    return describe(workspace, name, {ARCHIVED: None})


def is_archived(record: RunRecord) -> bool:
    """Whether a run was put away."""
    return record.tags.get(ARCHIVED) == "true"


def delete_run(workspace: Workspace, name: str) -> RunRecord:
    """Delete a run with its metrics, its place in the lineage and its folder; Conflict while it runs."""
    record = workspace.runs.get(name)
    if not record.ended:
        raise Conflict(f"run {record.name!r} still runs", hint="stop it first")

    def work(connection: Connection) -> None:
        connection.execute(delete(metrics).where(metrics.c.run_id == record.run_id))
        connection.execute(delete(edges).where(edges.c.run_id == record.run_id))
        connection.execute(delete(runs).where(runs.c.run_id == record.run_id))

    workspace.database.transact(work)
    shutil.rmtree(record.directory, ignore_errors=True)
    return record

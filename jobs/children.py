"""Cancelling a job, and the jobs that were made for it: what was asked of the parent goes for its children."""

from __future__ import annotations

from pathlib import Path

from jobs import states
from jobs.folders import attempt_folder
from jobs.idle import knock
from workspace.light_database import LightDatabase
from workspace.processes import Identity

_SHIM = (
    "SELECT j.attempt, a.shim_pid, a.shim_started_at FROM jobs j "
    "JOIN attempts a ON a.job = j.name AND a.number = j.attempt WHERE j.name = :name"
)


def cancel_job(database: LightDatabase, home: Path, name: str) -> None:
    """Ask a job and its children to end; those that have ended stay as they are."""
    if states.ask_to_cancel(database, name) == states.CANCEL_REQUESTED:
        for row in database.rows(_SHIM, name=name):
            folder = attempt_folder(home, name, row["attempt"])
            if folder.path.exists():
                folder.cancel.touch(mode=0o600)
            knock(Identity(row["shim_pid"], row["shim_started_at"]))
    cancel_children(database, home, name)


def cancel_children(database: LightDatabase, home: Path, name: str) -> list[str]:
    """Ask the children of a job to end, and theirs; return those that had not ended."""
    rows = database.rows("SELECT name, status FROM jobs WHERE parent = :name", name=name)
    living = [str(row["name"]) for row in rows if row["status"] not in states.TERMINAL]
    for child in living:
        cancel_job(database, home, child)
    return living

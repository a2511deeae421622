"""Taking data from here to where a connection leads: files to a file system, rows to a table of a database.

A job like any other: `python -m jobs.exports NAME` is its process, and its input `source` is the data.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs import databases
from jobs.assets import connections
from jobs.data.datastores import Remote
from jobs.data.fetching import options_of, send
from jobs.imports import address_of
from jobs.monitors import frames
from jobs.parents import Family, lead, submit_parent
from workspace.errors import Invalid
from workspace.paths import safe_join, writing

if TYPE_CHECKING:
    from jobs.files.transfer_nodes import ExportDataJob
    from jobs.records import JobRecord
    from jobs.submit import Wishes
    from workspace.home import Workspace

SOURCE = "source"


def submit_export(workspace: Workspace, job: ExportDataJob, wishes: Wishes | None = None) -> JobRecord:
    """Record an export and begin it."""
    return submit_parent(workspace, job, kind="data_transfer", module="jobs.exports", wishes=wishes)


def work(family: Family) -> None:
    """Take the data there."""
    sink = family.written["sink"]
    connection = connections.opened(family.workspace, sink["connection"])
    place = family.given(SOURCE)
    if sink["type"] == "database":
        told = _put_rows(place, sink, connection, family.spec.run_id)
    else:
        told = _put_files(place, str(sink.get("path") or ""), connection)
    print(f"{told} exported to {sink['connection']}", flush=True)  # noqa: T201  the log of the job


def _put_rows(place: Path, sink: Mapping[str, Any], connection: Mapping[str, Any], job: str) -> str:
    table = sink.get("table_name")
    if not table:
        raise Invalid("an export to a database needs a `table_name`", hint="no query and no procedure is called")
    with frames.open_database() as database:
        frame = frames.load(database, "rows", place, span=None, source=place.name)
        if not frame.columns or "nothing" in frame.columns:
            raise Invalid(f"there are no rows at {place.name!r}", hint="files of .csv, .parquet, .jsonl, or an MLTable")
        is_new = databases.put(connection, str(table), frame, database, job)
    return f"{frame.rows} rows of table {table}{'' if is_new else ', which were in already, are'}"


def _put_files(place: Path, path: str, connection: Mapping[str, Any]) -> str:
    leads = address_of(connection)
    count = sum(each.is_file() for each in place.rglob("*")) if place.is_dir() else 1
    if "://" in leads:
        send(Remote(url=f"{leads}/{path.lstrip('/')}" if path else leads, options=options_of(connection)), place)
        return f"{count} files"
    target = safe_join(Path(leads), path.strip("/")) if path.strip("/") else Path(leads)
    with writing(target):
        if place.is_dir():
            shutil.copytree(place, target, dirs_exist_ok=True)
        else:
            target = target / place.name if target.is_dir() or path.endswith("/") or not path else target
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(place, target)
    return f"{count} files"


if __name__ == "__main__":
    sys.exit(lead(sys.argv[1], work))

"""Bringing data here from where a connection leads: files, or what a database answers; it becomes a data asset.

A job like any other: `python -m jobs.imports NAME` is its process, and its output `sink` is the data.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from jobs import databases
from jobs.assets import connections
from jobs.data import places
from jobs.data.datastores import Remote
from jobs.data.fetching import fetch, options_of
from jobs.files.ports import Output
from jobs.files.references import target
from jobs.files.transfer import Database, FileSource, FileSystem
from jobs.files.transfer_nodes import ImportDataJob, ImportJob
from jobs.parents import Family, lead, submit_parent
from jobs.spec import BoundOutput
from workspace.errors import Invalid, NotFound
from workspace.paths import safe_join

if TYPE_CHECKING:
    from jobs.files.command import Job
    from jobs.files.data import DataImport
    from jobs.records import JobRecord
    from jobs.submit import Wishes
    from workspace.home import Workspace

SINK = "sink"
MANAGED = "azureml://datastores/workspacemanageddatastore"  # where Azure ML puts what nobody has another place for
TABLE = "part-0.parquet"


def job_of(data: DataImport) -> Job:
    """Return the job that imports what a file says; its output is a version of that data."""
    path = None if data.path.startswith(MANAGED) else data.path
    sink = Output(type=data.type, name=data.name, version=data.version, path=path)
    return ImportDataJob(
        origin=data.origin,
        type="data_transfer",
        task="import_data",
        source=data.source,
        outputs={SINK: sink},
        description=data.description,
        tags={key: str(value) for key, value in data.tags.items()},
    )


def of_import(job: ImportJob, outputs: Mapping[str, Output]) -> ImportDataJob:
    """Return what a job of type `import` does: a query of a database, or files of S3."""
    said = job.source
    source: Database | FileSystem
    if isinstance(said, FileSource):
        source = FileSystem(connection=said.connection, path=said.path)
    else:
        source = Database(type="database", connection=said.connection, query=said.query)
    return ImportDataJob(
        origin=job.origin, type="data_transfer", task="import_data", source=source, outputs=outputs, name=job.name,
        display_name=job.display_name, experiment_name=job.experiment_name, description=job.description,
        tags=job.tags, properties=job.properties,
    )  # fmt: skip


def submit_import(workspace: Workspace, job: ImportDataJob, wishes: Wishes | None = None) -> JobRecord:
    """Record an import and begin it."""
    return submit_parent(workspace, job, kind="data_transfer", module="jobs.imports", wishes=wishes)


def work(family: Family) -> None:
    """Bring the data."""
    source = family.written["source"]
    connection = connections.opened(family.workspace, source["connection"])
    port = next(iter(family.spec.outputs), SINK)  # a step of type `import` calls it `output`
    wanted = family.spec.outputs.get(port, BoundOutput())
    place = family.output(port)
    if source["type"] == "database":
        _bring_table(_statement(source), connection, place, is_mltable=wanted.type == "mltable")
    else:
        _bring_files(family.workspace, source.get("path") or "", connection, place, is_file=wanted.type == "uri_file")
    print(f"{wanted.asset or port}: imported from {source['connection']}", flush=True)  # noqa: T201  the log of the job


def _bring_files(workspace: Workspace, path: str, connection: Mapping[str, Any], place: Path, *, is_file: bool) -> None:
    found = _found(workspace, path, connection)
    place.parent.mkdir(parents=True, exist_ok=True)
    if found.is_file():
        if not is_file:
            place.mkdir(exist_ok=True)
        shutil.copyfile(found, place if is_file else place / found.name)
    elif is_file:
        raise Invalid(f"{path!r} is a folder, and the type is uri_file")
    else:
        shutil.copytree(found, place, dirs_exist_ok=True)


def address_of(connection: Mapping[str, Any]) -> str:
    """Return where a connection leads: a folder of this machine, or a URL."""
    leads = str(connection.get("target") or connection.get("url") or "").rstrip("/")
    if not leads:
        raise Invalid(f"connection {connection['name']!r} leads nowhere", hint="give it a `target`")
    if leads.startswith("file:"):
        return unquote(urlsplit(leads).path)
    return f"s3://{leads}" if connection["type"] == "s3" and "://" not in leads else leads


def _found(workspace: Workspace, path: str, connection: Mapping[str, Any]) -> Path:
    leads = address_of(connection)
    if "://" not in leads:
        found = places.find(workspace, target(leads, workspace.home))
        found = safe_join(found, path.strip("/")) if path.strip("/") else found
        if not found.exists():
            raise NotFound(f"connection {connection['name']!r} has nothing at {path!r}", hint="check `path`")
        return found
    whole = f"{leads}/{path.lstrip('/')}" if path else leads
    return fetch(workspace.settings, Remote(url=whole, options=options_of(connection)))


def _statement(source: Mapping[str, Any]) -> str:
    """Return what a database is asked."""
    if source.get("query"):
        return str(source["query"])
    if source.get("table_name"):
        return f"SELECT * FROM {databases.quoted(str(source['table_name']))}"
    raise Invalid("stored procedures are not called from here", hint="write a `query` or a `table_name`")


def _bring_table(statement: str, connection: Mapping[str, Any], place: Path, *, is_mltable: bool) -> None:
    place.mkdir(parents=True, exist_ok=True)
    databases.bring(statement, connection, place / TABLE)
    if is_mltable:
        (place / "MLTable").write_text(
            f"type: mltable\npaths:\n  - file: ./{TABLE}\ntransformations:\n  - read_parquet\n"
        )


if __name__ == "__main__":
    sys.exit(lead(sys.argv[1], work))

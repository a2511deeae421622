"""Bringing data here from where a connection leads: files, or what a database answers; it becomes a data asset.

A job like any other: `python -m jobs.imports NAME` is its process, and its output `sink` is the data.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from jobs.assets import connections
from jobs.data import places
from jobs.data.datastores import Remote
from jobs.data.fetching import fetch, options_of
from jobs.files.ports import Output
from jobs.files.references import target
from jobs.files.transfer_nodes import ImportDataJob
from jobs.parents import Family, lead, submit_parent
from workspace.errors import Invalid, Unavailable

if TYPE_CHECKING:
    from jobs.files.command import Job
    from jobs.files.data import DataImport
    from jobs.records import JobRecord
    from jobs.submit import Wishes
    from workspace.home import Workspace

SINK = "sink"
MANAGED = "azureml://datastores/workspacemanageddatastore"  # where Azure ML puts what nobody has another place for
TABLE = "part-0.parquet"
_LOADED = "CREATE TABLE loaded AS SELECT * FROM read_json_auto(?, format = 'newline_delimited')"


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


def submit_import(workspace: Workspace, job: ImportDataJob, wishes: Wishes | None = None) -> JobRecord:
    """Record an import and begin it."""
    return submit_parent(workspace, job, kind="data_transfer", module="jobs.imports", wishes=wishes)


def work(family: Family) -> None:
    """Bring the data."""
    source = family.written["source"]
    connection = connections.opened(family.workspace, source["connection"])
    wanted = family.spec.outputs[SINK]
    place = family.output(SINK)
    if source["type"] == "database":
        _bring_table(_statement(source), connection, place, is_mltable=wanted.type == "mltable")
    else:
        _bring_files(family.workspace, source.get("path") or "", connection, place, is_file=wanted.type == "uri_file")
    print(f"{wanted.asset or SINK}: imported from {source['connection']}", flush=True)  # noqa: T201  the log of the job


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


def _found(workspace: Workspace, path: str, connection: Mapping[str, Any]) -> Path:
    leads = str(connection.get("target") or connection.get("url") or "").rstrip("/")
    if not leads:
        raise Invalid(f"connection {connection['name']!r} leads nowhere", hint="give it a `target`")
    if leads.startswith("file:"):
        leads = unquote(urlsplit(leads).path)
    elif connection["type"] == "s3" and "://" not in leads:
        leads = f"s3://{leads}"
    whole = f"{leads}/{path.lstrip('/')}" if path else leads
    if "://" not in whole:
        return places.find(workspace, target(whole, workspace.home))
    return fetch(workspace.settings, Remote(url=whole, options=options_of(connection)))


def _statement(source: Mapping[str, Any]) -> str:
    """Return what a database is asked."""
    if source.get("query"):
        return str(source["query"])
    if source.get("table_name"):
        return "SELECT * FROM " + ".".join(f'"{part}"' for part in source["table_name"].replace('"', "").split("."))
    raise Invalid("stored procedures are not called from here", hint="write a `query` or a `table_name`")


def _bring_table(statement: str, connection: Mapping[str, Any], place: Path, *, is_mltable: bool) -> None:
    from sqlalchemy import create_engine, text
    from sqlalchemy.exc import SQLAlchemyError

    engine = create_engine(_url(connection))
    try:
        with engine.connect().execution_options(stream_results=True) as opened:
            answer = opened.execute(text(statement))
            place.mkdir(parents=True, exist_ok=True)
            _write_parquet(list(answer.keys()), answer, place)
    except SQLAlchemyError as problem:
        told = str(getattr(problem, "orig", None) or problem).splitlines()[0]
        raise Unavailable(f"the database of connection {connection['name']!r}: {told}") from None
    finally:
        engine.dispose()
    if is_mltable:
        (place / "MLTable").write_text(
            f"type: mltable\npaths:\n  - file: ./{TABLE}\ntransformations:\n  - read_parquet\n"
        )


def _url(connection: Mapping[str, Any]) -> Any:
    """Return the address of a database, with who asks; Invalid where it is not in SQLAlchemy's words."""
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    hint = "write the connection's `target` as sqlite:////path/to.db or postgresql+psycopg://host/name"
    try:
        url = make_url(str(connection["target"]))
        url.get_dialect()
    except (ArgumentError, NoSuchModuleError, ImportError):
        raise Invalid(f"connection {connection['name']!r} leads to no database known here", hint=hint) from None
    given = connection.get("credentials") or {}
    if url.host and url.username is None and given.get("username"):
        url = url.set(username=given["username"], password=given.get("password"))
    return url


def _write_parquet(names: list[str], rows: Iterable[Any], place: Path) -> None:
    import duckdb

    lines = place / ".rows.jsonl"
    with lines.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(dict(zip(names, map(_plain, row), strict=True))) + "\n")
    with duckdb.connect() as database:
        if lines.stat().st_size:
            database.execute(_LOADED, [str(lines)])
        else:
            columns = ", ".join(f'"{name}" VARCHAR' for name in names)
            database.execute(f"CREATE TABLE loaded ({columns})")
        database.table("loaded").write_parquet(str(place / TABLE))
    lines.unlink()


def _plain(value: Any) -> Any:
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return float(value)
    return bytes(value).hex() if isinstance(value, bytes | memoryview) else value


if __name__ == "__main__":
    sys.exit(lead(sys.argv[1], work))

"""Steps and jobs that take data to where connections lead, and bring it from there: files, and tables of databases."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from datetime import date
from pathlib import Path

import duckdb
import pytest
from sqlalchemy import create_engine, make_url, text

from jobs import assets, submit
from jobs.create import create
from jobs.files.ports import Input
from jobs.files.reading import Origin
from jobs.files.transfer import Database, FileSystem
from jobs.files.transfer_nodes import ExportDataJob
from jobs.records import JobRecord
from tests.jobs.pipelines import Run, log_of, statuses
from tests.jobs.pipelines import cache as cache
from tests.jobs.pipelines import run_pipeline as run_pipeline
from workspace.home import Workspace


@pytest.fixture(autouse=True)
def elsewhere(workspace: Workspace, tmp_path: Path) -> Path:
    """A folder that connection `files` leads to, with databases that `shop` (SQLite) and `ducks` (DuckDB) lead to."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    with sqlite3.connect(folder / "shop.db") as database:
        database.execute("CREATE TABLE orders (id INTEGER, price NUMERIC)")
        database.execute("INSERT INTO orders VALUES (1, 2.5), (2, 3)")
    for name, target in (
        ("files", str(folder)), ("shop", f"sqlite:///{folder / 'shop.db'}"), ("ducks", f"duckdb:///{folder / 'd.db'}"),
    ):  # fmt: skip
        said = {"name": name, "type": "custom", "target": target, "credentials": {"type": "none"}}
        assets.create(workspace, "connection", said)
    return folder


BOTH_WAYS = """
type: pipeline
inputs: {least: 2}
outputs: {kept: {type: uri_folder}}
settings: {default_compute: azureml:local}
jobs:
  bring:
    type: data_transfer
    task: import_data
    source:
      type: database
      connection: azureml:shop
      query: SELECT * FROM orders WHERE price > ${{parent.inputs.least}}
    outputs: {sink: {type: mltable}}
  files:
    type: import
    source: {type: s3, connection: "azureml:files", path: notes}
    output: {type: uri_folder}
  work:
    command: >-
      cp ${{inputs.rows}}/part-0.parquet ${{inputs.notes}}/a.txt ${{outputs.made}}
    inputs:
      rows: ${{parent.jobs.bring.outputs.sink}}
      notes: ${{parent.jobs.files.outputs.output}}
    outputs: {made: "${{parent.outputs.kept}}"}
  put:
    type: data_transfer
    task: export_data
    inputs: {source: {type: mltable, path: "${{parent.jobs.bring.outputs.sink}}"}}
    sink: {type: database, connection: "azureml:ducks", table_name: bought}
  send:
    type: data_transfer
    task: export_data
    component: azureml://registries/azureml/components/export_data_file_system/versions/0.0.1
    inputs: {source: "${{parent.jobs.work.outputs.made}}"}
    sink: {type: file_system, connection: "azureml:files", path: sent/today}
"""


def test_a_pipeline_brings_data_from_elsewhere_and_takes_it_there(
    workspace: Workspace, run_pipeline: Run, elsewhere: Path
) -> None:
    (elsewhere / "notes").mkdir()
    (elsewhere / "notes" / "a.txt").write_text("hello")
    job = run_pipeline(BOTH_WAYS)
    assert set(statuses(workspace, job.name).values()) == {"Completed"}
    assert (elsewhere / "sent" / "today" / "a.txt").read_text() == "hello"
    with duckdb.connect(str(elsewhere / "d.db")) as database:
        assert database.execute("SELECT * FROM bought ORDER BY id").fetchall() == [(1, 2.5), (2, 3.0)]
    again = run_pipeline(BOTH_WAYS)
    assert "what is elsewhere may have changed" in log_of(workspace, again.name)
    with duckdb.connect(str(elsewhere / "d.db")) as database:
        assert database.execute("SELECT count(*) FROM bought").fetchone() == (4,)


def exported(workspace: Workspace, folder: Path, sink: Database | FileSystem, path: str = "rows.csv") -> JobRecord:
    source = Input(type="uri_file", path=str(folder / path))
    job = ExportDataJob(
        origin=Origin.made_in(folder), type="data_transfer", task="export_data", sink=sink, inputs={"source": source}
    )
    return submit.wait(workspace, create(workspace, job).name, seconds=60)


def table(connection: str, name: str | None = None, query: str | None = None) -> Database:
    return Database(type="database", connection=connection, table_name=name, query=query)


def test_rows_get_into_a_table_that_is_made_for_them(workspace: Workspace, tmp_path: Path, elsewhere: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(
        '{"id": 7, "when": "2026-05-01T12:00:00", "ok": true, "list": [1], "note": null, "price": 0.5}\n'
    )
    done = exported(workspace, tmp_path, table("azureml:shop", "made"), "rows.jsonl")
    assert done.status == "Completed", log_of(workspace, done.name)
    with sqlite3.connect(elsewhere / "shop.db") as database:
        (row,) = database.execute('SELECT id, "when", ok, list, note, price FROM made').fetchall()
    assert row == (7, "2026-05-01 12:00:00.000000", 1, "[1]", None, 0.5)
    assert "1 rows of table made exported to azureml:shop" in log_of(workspace, done.name)


@pytest.mark.parametrize(
    ("sink", "words"),
    [
        (table("shop", "orders"), "table 'orders' has no column 'name'"),
        (table("shop", query="SELECT 1"), "needs a `table_name`"),
        (FileSystem(connection="files", path="../out"), "../out"),
    ],
)
def test_what_cannot_be_taken_fails_in_one_line_and_leaves_nothing(
    workspace: Workspace, tmp_path: Path, elsewhere: Path, sink: Database | FileSystem, words: str
) -> None:
    (tmp_path / "rows.csv").write_text("id,name\n1,a\n")
    done = exported(workspace, tmp_path, sink)
    assert done.status == "Failed"
    assert words in (done.error or "")
    with sqlite3.connect(elsewhere / "shop.db") as database:
        assert database.execute("SELECT count(*) FROM orders").fetchall() == [(2,)]
    assert not (tmp_path / "out").exists()


def done_again(workspace: Workspace, job: JobRecord) -> str:
    """Have the process of an export again, as it is made where it was killed before its end was known."""
    line = [sys.executable, "-P", "-m", "jobs.exports", job.name]
    own = os.environ | workspace.settings.environment()
    return subprocess.run(line, env=own, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("connection", ["shop", "ducks"])
def test_an_export_that_is_killed_when_its_rows_are_in_adds_none_again(
    workspace: Workspace, tmp_path: Path, elsewhere: Path, connection: str
) -> None:
    (tmp_path / "rows.csv").write_text("id,price\n5,1\n6,2\n")
    counts = []
    done = exported(workspace, tmp_path, table(connection, "bought"))
    assert done.status == "Completed", log_of(workspace, done.name)
    for _ in range(2):
        assert "2 rows of table bought, which were in already, are exported" in done_again(workspace, done)
    other = exported(workspace, tmp_path, table(connection, "bought"))  # another job adds them once more
    assert other.status == "Completed", log_of(workspace, other.name)
    for query in ("SELECT count(*) FROM bought", "SELECT count(*), sum(rows) FROM studiolo_exports"):
        with duckdb.connect(str(elsewhere / "d.db")) as ducks, sqlite3.connect(elsewhere / "shop.db") as shop:
            counts.append((shop if connection == "shop" else ducks).execute(query).fetchone())
    assert counts == [(4,), (2, 4)]


def test_an_export_whose_rows_are_not_all_taken_is_not_done(
    workspace: Workspace, tmp_path: Path, elsewhere: Path
) -> None:
    with sqlite3.connect(elsewhere / "shop.db") as database:
        database.execute("CREATE TABLE picky (id INTEGER PRIMARY KEY)")
        database.execute("INSERT INTO picky VALUES (2000)")
    (tmp_path / "rows.csv").write_text("id\n" + "".join(f"{number}\n" for number in range(1, 2500)))
    done = exported(workspace, tmp_path, table("shop", "picky"))
    assert "UNIQUE constraint failed: picky.id" in (done.error or "")
    with sqlite3.connect(elsewhere / "shop.db") as database:
        assert database.execute("SELECT count(*) FROM picky").fetchone() == (1,)
        assert database.execute("SELECT count(*) FROM studiolo_exports").fetchone() == (0,)
        database.execute("DELETE FROM picky")
    assert "2499 rows of table picky exported" in done_again(workspace, done)


@pytest.mark.postgres
def test_a_table_of_postgres(workspace: Workspace, postgres_url: str, tmp_path: Path) -> None:
    url = make_url(postgres_url)
    known = {"type": "username_password", "username": url.username, "password": url.password or "none"}
    target = url._replace(username=None, password=None).render_as_string()
    said = {"name": "pg", "type": "custom", "target": target, "credentials": known}
    assets.create(workspace, "connection", said)
    (tmp_path / "rows.csv").write_text("id,at\n1,2026-05-01\n")
    done = exported(workspace, tmp_path, table("pg", "public.got"))
    assert done.status == "Completed", log_of(workspace, done.name)
    assert "1 rows of table public.got, which were in already" in done_again(workspace, done)
    engine = create_engine(postgres_url)
    with engine.connect() as opened:
        assert opened.execute(text("SELECT id, at FROM public.got")).fetchall() == [(1, date(2026, 5, 1))]
    engine.dispose()

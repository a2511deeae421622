"""Imports: files and tables from where connections lead, as jobs whose output is data; on a schedule as well."""

from __future__ import annotations

import sqlite3
from datetime import date
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import duckdb
import pytest

from jobs import assets, databases, submit
from jobs.create import create
from jobs.files import made, read_schedule
from jobs.imports import job_of
from jobs.monitors import frames
from jobs.records import JobRecord
from jobs.schedules import firing, store
from workspace.errors import MissingExtra, Unavailable
from workspace.home import Workspace

NOON = 1_777_636_800.0


@pytest.fixture
def shop(workspace: Workspace, tmp_path: Path) -> Path:
    """A folder that connection `files` leads to, with a database that `shop` leads to."""
    folder = tmp_path / "elsewhere"
    (folder / "rows").mkdir(parents=True)
    (folder / "rows" / "a.txt").write_text("a")
    database = sqlite3.connect(folder / "shop.db")
    database.execute("CREATE TABLE orders (id INTEGER, price NUMERIC, at TEXT, note BLOB)")
    database.execute("INSERT INTO orders VALUES (1, 2.5, '2026-05-01 12:00:00', x'00ff'), (2, 3, NULL, NULL)")
    database.commit()
    database.close()
    for name, target in (("files", str(folder)), ("shop", f"sqlite:///{folder / 'shop.db'}"), ("far", "Server=tcp:x")):
        said = {"name": name, "type": "azure_sql_db", "target": target,
                "credentials": {"type": "username_password", "username": "u", "password": "p"}}  # fmt: skip
        assets.create(
            workspace,
            "connection",
            said | ({"type": "custom", "credentials": {"type": "none"}} if name == "files" else {}),
        )
    blobs = {"type": "azure_blob", "url": "http://127.0.0.1", "account_name": "a", "container_name": "c"}
    assets.create(workspace, "connection", {"name": "blobs", **blobs})
    return folder


def imported(workspace: Workspace, folder: Path, source: dict[str, Any], type_: str = "mltable") -> JobRecord:
    said = {"name": "got", "type": type_, "source": source,
            "path": "azureml://datastores/workspacemanageddatastore/paths/x"}  # fmt: skip
    job = create(workspace, job_of(made("data_import", said, folder)))
    return submit.wait(workspace, job.name, seconds=60)


def test_a_query_becomes_a_table(workspace: Workspace, shop: Path) -> None:
    source = {"type": "database", "connection": "azureml:shop", "query": "SELECT id, price, at, note FROM orders"}
    done = imported(workspace, shop, source)
    assert done.status == "Completed", b"".join(submit.stream(workspace, done.name))
    place = workspace.assets.path(workspace.assets.get("data", "got"))
    rows = duckdb.read_parquet(str(place / "part-0.parquet")).fetchall()
    assert [row[:2] for row in rows] == [(1, 2.5), (2, 3.0)]
    assert (rows[0][3], rows[1][2:]) == ("00ff", (None, None))
    assert "read_parquet" in (place / "MLTable").read_text()


def test_a_file_of_duckdb_is_asked(workspace: Workspace, shop: Path) -> None:
    with duckdb.connect(str(shop / "d.db")) as database:
        database.execute("CREATE TABLE orders AS SELECT 7 AS id, DATE '2026-05-01' AS at")
    said = {"name": "ducks", "type": "custom", "target": f"duckdb:///{shop / 'd.db'}", "credentials": {"type": "none"}}
    assets.create(workspace, "connection", said)
    done = imported(workspace, shop, {"type": "database", "connection": "ducks", "table_name": "orders"})
    assert done.status == "Completed", b"".join(submit.stream(workspace, done.name))
    place = workspace.assets.path(workspace.assets.get("data", "got"))
    assert duckdb.read_parquet(str(place / "part-0.parquet")).fetchall() == [(7, date(2026, 5, 1))]
    done = imported(workspace, shop, {"type": "database", "connection": "ducks", "query": "SELECT nothing"})
    assert "the database of connection 'ducks'" in (done.error or "")


def test_a_table_by_its_name_also_an_empty_one(workspace: Workspace, shop: Path) -> None:
    with sqlite3.connect(shop / "shop.db") as database:
        database.execute("DELETE FROM orders")
    done = imported(workspace, shop, {"type": "database", "connection": "shop", "table_name": "orders"}, "uri_folder")
    assert done.status == "Completed"
    place = workspace.assets.path(workspace.assets.get("data", "got"))
    found = duckdb.read_parquet(str(place / "part-0.parquet"))
    assert (found.columns, found.fetchall()) == (["id", "price", "at", "note"], [])


def test_names_and_values_of_a_database_are_what_they_are(tmp_path: Path) -> None:
    shop = {"name": "shop", "target": f"sqlite:///{tmp_path / 'shop.db'}"}
    name = "n\" VARCHAR); COPY (SELECT 1) TO 'stolen.csv'; --"
    databases.bring('SELECT 1 AS "{}" WHERE 1 = 0'.format(name.replace('"', '""')), shop, tmp_path / "none.parquet")
    assert duckdb.read_parquet(str(tmp_path / "none.parquet")).columns == [name]
    ducks = {"name": "ducks", "target": f"duckdb:///{tmp_path / 'd.db'}"}
    (tmp_path / "rows.csv").write_text('petal.length,"say ""it"""\n1.5,a\n')
    with frames.open_database() as database:
        frame = frames.load(database, "t", tmp_path / "rows.csv", span=None)
        assert databases.put(ducks, "main.flowers", frame, database, "one")
    databases.bring("SELECT * FROM flowers", ducks, tmp_path / "got.parquet")
    got = duckdb.read_parquet(str(tmp_path / "got.parquet"))
    assert (got.columns, got.fetchall()) == (["petal.length", 'say "it"'], [(1.5, "a")])


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("SELECT content FROM read_text('{folder}/secret.txt')", "file system operations are disabled"),
        ("FROM glob('{folder}/*')", "file system operations are disabled"),
        ("COPY (SELECT 1) TO '{folder}/stolen.csv'", "file system operations are disabled"),
        ("ATTACH '{folder}/other.db'", "file system operations are disabled"),
        ("SET enable_external_access = true", "configuration has been locked"),
        ("SET allowed_directories = ['/']", "configuration has been locked"),
        ("INSTALL httpfs", "disabled"),
    ],
)
def test_what_is_asked_of_duckdb_sees_nothing_but_its_database(
    workspace: Workspace, tmp_path: Path, query: str, words: str
) -> None:
    folder = tmp_path / "it's elsewhere"
    folder.mkdir()
    (folder / "secret.txt").write_text("hush")
    with duckdb.connect(str(folder / "d.db")) as database:
        database.execute("CREATE TABLE orders AS SELECT 7 AS id")
    target = f"duckdb:///{folder / 'd.db'}"
    said = {"name": "ducks", "type": "custom", "target": target, "credentials": {"type": "none"}}
    assets.create(workspace, "connection", said)
    asked = query.format(folder=str(folder).replace("'", "''"))
    done = imported(workspace, tmp_path, {"type": "database", "connection": "ducks", "query": asked})
    assert (done.status, words in (done.error or "")) == ("Failed", True), done.error
    assert sorted(path.name for path in folder.iterdir()) == ["d.db", "secret.txt"]
    with pytest.raises(Unavailable, match=words):
        databases.bring(f"SELECT 1; {asked}; SELECT 1", {"name": "d", "target": target}, folder / "got.parquet")
    for _ in range(2):  # also where a file is there already
        databases.bring("SELECT id FROM orders", {"name": "d", "target": target}, folder / "got.parquet")
    assert duckdb.read_parquet(str(folder / "got.parquet")).fetchall() == [(7,)]


def test_a_database_whose_package_is_not_there_says_which(tmp_path: Path) -> None:
    if find_spec("pymysql"):
        pytest.skip("pymysql is installed")
    far = {"name": "far", "target": "mysql+pymysql://localhost/x"}
    with pytest.raises(MissingExtra, match="'far' needs the package pymysql"):
        databases.bring("SELECT 1", far, tmp_path / "x.parquet")


def test_files_are_brought_from_where_a_connection_leads(workspace: Workspace, shop: Path) -> None:
    done = imported(workspace, shop, {"type": "file_system", "connection": "files", "path": "rows"}, "uri_folder")
    assert done.status == "Completed", b"".join(submit.stream(workspace, done.name))
    assert (workspace.assets.path(workspace.assets.get("data", "got")) / "a.txt").read_text() == "a"


def test_a_job_of_type_import_leaves_its_output(workspace: Workspace, shop: Path) -> None:
    source = {"type": "s3", "connection": "azureml:files", "path": "rows"}
    said = {"type": "import", "source": source, "output": {"type": "uri_folder"}}
    job = submit.wait(workspace, create(workspace, made("job", said, shop)).name, seconds=60)
    assert job.status == "Completed", job.error
    assert (workspace.assets.path(workspace.assets.get("data", f"{job.name}-output")) / "a.txt").read_text() == "a"


def test_a_connection_to_blobs_leads_to_its_url_and_one_that_leads_nowhere_says_so(
    workspace: Workspace, shop: Path
) -> None:
    blobs = {"type": "azure_blob", "account_name": "a", "container_name": "c", "credentials": {"type": "aad"}}
    assets.create(workspace, "connection", blobs | {"name": "blobs", "url": f"file://{shop}"})
    lake = {"type": "azure_one_lake", "endpoint": "e", "one_lake_workspace_name": "w",
            "artifact": {"type": "lake_house", "name": "l"}}  # fmt: skip
    assets.create(workspace, "connection", lake | {"name": "lake"})
    done = imported(workspace, shop, {"type": "file_system", "connection": "blobs", "path": "rows"}, "uri_folder")
    assert done.status == "Completed", done.error
    assert (workspace.assets.path(workspace.assets.get("data", "got")) / "a.txt").read_text() == "a"
    done = imported(workspace, shop, {"type": "file_system", "connection": "lake", "path": "rows"}, "uri_folder")
    assert "leads nowhere" in (done.error or "")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ({"type": "database", "connection": "far", "query": "SELECT 1"}, "leads to no database known here"),
        ({"type": "database", "connection": "shop", "query": "SELECT x FROM y"}, "no such table"),
        ({"type": "database", "connection": "shop", "stored_procedure": "p"}, "stored procedures"),
        ({"type": "file_system", "connection": "files", "path": "nowhere"}, "nowhere"),
        ({"type": "file_system", "connection": "files", "path": "rows/../.."}, "rows/../.."),
        ({"type": "file_system", "connection": "nobody", "path": "x"}, "nobody"),
        ({"type": "file_system", "connection": "blobs", "path": "x"}, "inside this machine"),
    ],
)  # fmt: skip
def test_what_cannot_be_brought_fails_in_one_line(
    workspace: Workspace, shop: Path, source: dict[str, Any], words: str
) -> None:
    done = imported(workspace, shop, source)
    assert (done.status, words in (done.error or "")) == ("Failed", True), done.error


def test_a_schedule_brings_data_again_and_again(workspace: Workspace, shop: Path, tmp_path: Path) -> None:
    path = tmp_path / "orders.yml"
    path.write_text(
        "name: orders\ntrigger: {type: cron, expression: '0 * * * *'}\nimport_data:\n  type: mltable\n  name: got\n"
        "  source: {type: database, connection: azureml:shop, query: SELECT id FROM orders}\n"
        "  path: azureml://datastores/workspacemanageddatastore\n"
    )
    store.put(workspace, read_schedule(path), now=NOON)
    for hour, more in ((0, ""), (1, "INSERT INTO orders (id) VALUES (3)")):
        with sqlite3.connect(shop / "shop.db") as database:
            database.execute(more or "SELECT 1")
        (done,) = firing.tick(workspace, NOON + hour * 3600)
        assert submit.wait(workspace, done.job, seconds=60).status == "Completed"
    found = [each.version for each in workspace.assets.list("data", every_version=True) if each.name == "got"]
    assert sorted(found) == ["1", "2"]

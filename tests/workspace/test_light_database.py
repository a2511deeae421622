"""The light door to the records: the same rows as through SQLAlchemy, on SQLite and PostgreSQL."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from workspace.errors import Conflict, Invalid, Unavailable
from workspace.home import Workspace
from workspace.light_database import LightDatabase, from_json, to_json

PUT = "INSERT INTO asset_labels (kind, name, label, version) VALUES ('data', :name, :label, :version)"
COUNT = "SELECT count(*) AS n FROM asset_labels"


def count(database: LightDatabase) -> int:
    return int(database.rows(COUNT)[0]["n"])


def test_what_is_written_here_is_read_there(any_workspace: Workspace) -> None:
    with any_workspace.light.write(hold=("labels", "more")) as statements:
        assert statements.change(PUT, name="rows", label="a:b%s", version="1") == 1
        assert statements.rows("SELECT label FROM asset_labels WHERE name = :name", name="rows") == [{"label": "a:b%s"}]
    with any_workspace.database.read() as connection:
        assert connection.exec_driver_sql("SELECT label FROM asset_labels").scalar() == "a:b%s"


def test_an_exception_takes_everything_back(any_workspace: Workspace) -> None:
    def put_and_fail() -> None:
        with any_workspace.light.write() as statements:
            statements.change(PUT, name="rows", label="a", version="1")
            raise Conflict("no")

    with pytest.raises(Conflict):
        put_and_fail()
    assert count(any_workspace.light) == 0


def test_json_is_the_same_on_both(any_workspace: Workspace) -> None:
    value = {"text": "ü %s :x", "list": [1, None, True], "deep": {"a": 1.5}}
    with any_workspace.light.write() as statements:
        statements.change(
            "INSERT INTO events (event_id, kind, ts, payload) VALUES ('1', 'x', 1.0, :payload)", payload=to_json(value)
        )
    assert from_json(any_workspace.light.rows("SELECT payload FROM events")[0]["payload"]) == value


def test_threads_take_turns(any_workspace: Workspace) -> None:
    def put(number: int) -> None:
        for index in range(20):
            with any_workspace.light.write(durable=False) as statements:
                statements.change(PUT, name=f"n{number}", label=f"l{index}", version="1")

    threads = [threading.Thread(target=put, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert count(any_workspace.light) == 80


def test_a_copy_of_the_process_opens_its_own(any_workspace: Workspace) -> None:
    assert count(any_workspace.light) == 0
    child = os.fork()
    if child == 0:
        status = 1
        try:
            with any_workspace.light.write() as statements:
                statements.change(PUT, name="child", label="a", version="1")
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert count(any_workspace.light) == 1


def test_a_writer_that_waits_too_long_is_told_why(workspace: Workspace) -> None:
    other = sqlite3.connect(workspace.home / "studiolo.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    database = LightDatabase(workspace.home, patience=0.2)
    with pytest.raises(Unavailable, match="kept it busy"), database.write():
        pass
    other.execute("ROLLBACK")
    with database.write():
        pass
    database.close()


def test_a_mistake_in_a_statement_is_a_bug_and_keeps_its_traceback(workspace: Workspace) -> None:
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        workspace.light.rows("SELECT * FROM no_table")


@pytest.mark.postgres
def test_a_mistake_that_the_driver_notices_is_a_bug_as_well(postgres_url: str, tmp_path: Path) -> None:
    psycopg = pytest.importorskip("psycopg")
    database = LightDatabase(tmp_path, postgres_url)
    for mistake, words in ((psycopg.DataError, "a\0b"), (psycopg.ProgrammingError, object())):
        with pytest.raises(mistake):
            database.rows("SELECT CAST(:words AS text) AS words", words=words)
    assert database.rows("SELECT 1 AS one") == [{"one": 1}]
    database.close()


@pytest.mark.postgres
def test_a_server_that_has_gone_is_told_and_found_again_when_it_comes_back(postgres_url: str, tmp_path: Path) -> None:
    database = LightDatabase(tmp_path, postgres_url)
    database.rows("SELECT 1 AS one")
    with pytest.raises(Unavailable):
        database.rows("SELECT pg_terminate_backend(pg_backend_pid()) AS gone")
    assert database.rows("SELECT 1 AS one") == [{"one": 1}]
    database.close()
    with pytest.raises(Unavailable, match="the database does not do its work"):
        LightDatabase(tmp_path, "postgresql+psycopg://nobody@127.0.0.1:1/none").rows("SELECT 1 AS one")
    with pytest.raises(Invalid):
        LightDatabase(tmp_path, "mysql://x").rows("SELECT 1 AS one")


def test_a_shim_brings_no_sqlalchemy_along() -> None:
    heavy = "'sqlalchemy', 'psutil', 'http', 'subprocess', 'mlflow'"
    code = f"import sys, jobs.shim; print(sorted({{{heavy}}} & {{*sys.modules}}))"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

"""The ledger answers as the records do, can be lost at any time, and can be asked but not used."""

from __future__ import annotations

import fcntl
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, func, insert, select

from workspace import ledger
from workspace.errors import Invalid, StudioloError, Unavailable
from workspace.home import Workspace
from workspace.nodes import add_edges
from workspace.tables import edges, events, metrics, runs

UPSTREAM = """
WITH RECURSIVE walk(node, depth) AS (
    SELECT '{start}', 0 UNION SELECT source, depth + 1 FROM edges JOIN walk ON target = node WHERE depth < 10
) SELECT source, target FROM edges WHERE target IN (SELECT node FROM walk WHERE depth < 10)
"""


def test_everything_recorded_can_be_asked(any_workspace: Workspace) -> None:
    data = any_workspace.assets.put("data", "questions", b"{}")
    any_workspace.assets.label(data, "champion")
    with any_workspace.run("flow", name="demo", inputs=[data], params={"variant": "short", "n": 3}) as run:
        run.log_metrics({"accuracy": 0.5})
    any_workspace.spool.append(
        "request", {"endpoint": "smol", "status": 200, "completion_tokens": 7, "duration_ms": 1.5}
    )
    ask = any_workspace.sql
    assert ask("SELECT name, kind, status, git_dirty IS NULL OR true FROM runs").rows == [
        ("demo", "flow", "FINISHED", True)
    ]
    assert ask("SELECT key, value FROM params ORDER BY key").rows == [("n", "3"), ("variant", "short")]
    assert ask("SELECT key, value FROM metrics").rows == [("accuracy", 0.5)]
    assert ask("SELECT ref, labels FROM assets").rows == [("data:questions:1", ["champion"])]
    assert ask("SELECT source, target FROM edges").rows == [("data:questions:1", run.ref)]
    requests = ask("SELECT endpoint, status, completion_tokens, duration_ms, model FROM requests")
    assert requests.columns == ("endpoint", "status", "completion_tokens", "duration_ms", "model")
    assert requests.rows == [("smol", 200, 7, 1.5, None)]
    assert ask("SELECT count(*) FROM events WHERE kind = 'lineage'").rows == [(2,)]


def test_what_changes_is_seen_the_next_time(workspace: Workspace) -> None:
    with workspace.run("flow", name="demo") as run:
        assert workspace.sql("SELECT status FROM runs").rows == [("RUNNING",)]
        run.log_params({"a": 1})
        run.log_metrics({"x": 1.0})
        assert workspace.sql("SELECT key FROM params").rows == [("a",)]
    data = workspace.assets.put("data", "questions", b"{}")
    assert workspace.sql("SELECT status, archived FROM runs, assets").rows == [("FINISHED", False)]
    workspace.assets.archive(data)
    assert workspace.sql("SELECT archived FROM assets").rows == [(True,)]
    assert workspace.sql("SELECT count(*) FROM metrics").rows == [(1,)]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pairs=st.sets(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=40),
    more=st.sets(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=10),
    start=st.integers(0, 9),
)
def test_lineage_in_the_ledger_is_lineage_in_the_database(
    workspace: Workspace, pairs: set[tuple[int, int]], more: set[tuple[int, int]], start: int
) -> None:
    with workspace.database.write(durable=False) as connection:
        connection.execute(delete(edges))
    ledger.forget(workspace.home / "ledger.duckdb")
    for part in (pairs, more):  # a ledger made anew, then one that follows
        with workspace.light.write(durable=False) as statements:
            add_edges(statements, "0" * 32, [(f"data:n{source}:1", f"data:n{target}:1") for source, target in part])
        node = f"data:n{start}:1"
        told = {(edge.source, edge.target) for edge in workspace.lineage.upstream(node)}
        assert set(workspace.sql(UPSTREAM.format(start=node)).rows) == told


def test_a_ledger_that_followed_equals_one_made_anew(any_workspace: Workspace) -> None:
    queries = [
        f"SELECT * FROM {name} ORDER BY ALL" for name in ("runs", "params", "metrics", "assets", "edges", "events")
    ]
    for index in range(3):
        with any_workspace.run("flow", name=f"r{index}", inputs=["data:a:1"], params={"i": index}) as run:
            run.log_metrics({"x": float(index)})
        any_workspace.sql("SELECT 1")
    followed = [any_workspace.sql(query) for query in queries]
    ledger.forget(any_workspace.home / "ledger.duckdb")
    assert [any_workspace.sql(query) for query in queries] == followed


def test_a_damaged_ledger_is_made_anew(workspace: Workspace) -> None:
    with workspace.run("flow", name="demo"):
        pass
    workspace.sql("SELECT 1")
    (workspace.home / "ledger.duckdb").write_bytes(b"no database at all" * 1000)
    assert workspace.sql("SELECT name FROM runs").rows == [("demo",)]


def test_a_ledger_of_records_that_went_back_in_time_is_made_anew(workspace: Workspace) -> None:
    for index in range(3):
        with workspace.run("flow", name=f"r{index}") as run:
            run.log_metrics({"x": 1.0})
    assert workspace.sql("SELECT count(*) FROM runs").rows == [(3,)]
    with workspace.database.write() as connection:  # as a restored backup would
        for table in (runs, metrics, edges, events):
            connection.execute(delete(table))
    assert workspace.sql("SELECT count(*) FROM runs").rows == [(0,)]
    assert workspace.sql("SELECT count(*) FROM metrics").rows == [(0,)]


@pytest.mark.parametrize(
    "query",
    [
        "DROP TABLE runs",
        "INSERT INTO runs (run_id) VALUES ('x')",
        "WITH gone AS (DELETE FROM runs RETURNING *) SELECT * FROM gone",
        "EXPLAIN ANALYZE DROP TABLE runs",
        "CREATE TEMP TABLE t (a INT)",
        "COPY runs TO '{folder}/out.csv'",
        "EXPORT DATABASE '{folder}/out'",
        "ATTACH '{folder}/other.duckdb'",
        "SELECT * FROM read_csv('{folder}/secret.csv')",
        "SELECT * FROM read_text('{folder}/secret.csv')",
        "SELECT * FROM glob('{folder}/*')",
        "SELECT * FROM '{folder}/secret.csv'",
        "SELECT * FROM read_json('http://127.0.0.1:9/x')",
        "SET enable_external_access = true",
        "PRAGMA database_list",
        "INSTALL httpfs",
        "LOAD httpfs",
        "CONNECT '{folder}/other'",
        "UPDATE EXTENSIONS",
        "CALL pragma_version()",
        "SELECT 1; DROP TABLE runs",
        "SELECT * FROM query",
        "SELEC 1",
        "",
    ],
)
def test_a_question_changes_nothing_and_reaches_nothing(workspace: Workspace, tmp_path: Path, query: str) -> None:
    with workspace.run("flow", name="demo"):
        pass
    (tmp_path / "secret.csv").write_text("a\n1\n")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(Invalid):
        workspace.sql(query.format(folder=tmp_path))
    assert sorted(tmp_path.iterdir()) == before
    assert workspace.sql("SELECT name FROM runs").rows == [("demo",)]


def test_an_unknown_table_names_the_known_ones(workspace: Workspace) -> None:
    with pytest.raises(Invalid) as caught:
        workspace.sql("SELECT * FROM rnus")
    assert "requests" in str(caught.value.hint)


def test_rows_stop_at_the_limit_and_say_so(workspace: Workspace) -> None:
    answer = workspace.sql("SELECT * FROM range(100)", limit=10)
    assert len(answer.rows) == 10
    assert answer.truncated
    assert not workspace.sql("SELECT * FROM range(10)", limit=10).truncated


def test_a_question_without_an_end_is_stopped(workspace: Workspace) -> None:
    with pytest.raises(Unavailable, match="longer than"):
        ledger.sql(workspace, "SELECT count(*) FROM range(1000000000) a, range(100000) b", patience=0.3)


def test_a_question_too_large_for_memory_is_an_error_of_ours(workspace: Workspace) -> None:
    with pytest.raises(StudioloError):
        ledger.sql(workspace, "SELECT list(range) FROM range(1000000000)", patience=20)


def test_a_process_that_comes_second_is_answered_too(workspace: Workspace) -> None:
    with workspace.run("flow", name="demo"):
        pass
    with (workspace.home / "ledger.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert workspace.sql("SELECT name FROM runs").rows == [("demo",)]
    assert not (workspace.home / "ledger.duckdb").exists()


def test_processes_and_threads_ask_at_once(workspace: Workspace) -> None:
    with workspace.run("flow", name="demo"):
        pass
    code = f"""
from workspace.home import Workspace
workspace = Workspace.open({str(workspace.home)!r})
assert [workspace.sql("SELECT count(*) FROM runs").rows for _ in range(5)] == [[(1,)]] * 5
"""
    others = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    answers: list[object] = []
    threads = [
        threading.Thread(target=lambda: answers.append(workspace.sql("SELECT count(*) FROM runs").rows))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [[(1,)]] * 4
    assert [other.wait() for other in others] == [0, 0]


def test_no_variable_of_python_is_a_table(workspace: Workspace) -> None:
    secret = {"a": [1]}
    with pytest.raises(Invalid):
        workspace.sql("SELECT * FROM secret")
    assert secret


def test_a_hundred_thousand_events_are_counted(workspace: Workspace) -> None:
    rows = [
        {"event_id": str(n), "kind": "request", "ts": 1.0 + n, "payload": {"endpoint": f"e{n % 3}", "status": 200}}
        for n in range(100_000)
    ]
    with workspace.database.write(durable=False) as connection:
        connection.execute(insert(events), rows)
        total = connection.scalar(select(func.count()).select_from(events))
    answer = workspace.sql("SELECT endpoint, count(*) FROM requests GROUP BY 1 ORDER BY 1")
    assert sum(count for _, count in answer.rows) == total

"""Jobs whose work is done by children: none made twice, none left behind, whoever is killed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from jobs import records
from jobs.folders import attempt_folder
from jobs.parents import child_name, keep, submit_parent
from jobs.records import JobRecord
from jobs.submit import Wishes, cancel, stream, wait
from tests.jobs.conftest import LONG, job_of, until
from tests.jobs.killing import kill
from workspace.errors import NotFound
from workspace.home import Workspace

Relay = Callable[..., JobRecord]


@pytest.fixture
def relay(workspace: Workspace, tmp_path: Path) -> Relay:
    """Submit lines as the children of a job: `relay("echo a", "echo b", rest="name: ab\\n")`."""

    def submitted(*lines: str, rest: str = "") -> JobRecord:
        job = replace(job_of(tmp_path, "true", rest), command="\n".join(lines))
        return submit_parent(workspace, job, kind="relay", module="tests.jobs.relay", wishes=Wishes())

    return submitted


def test_a_parent_runs_its_children_and_they_are_listed_under_it(workspace: Workspace, relay: Relay) -> None:
    job = relay("echo a", "echo b", "echo c", rest="name: abc\n")
    assert (job.kind, job.needs.cpus) == ("relay", 0)
    ended = wait(workspace, "abc", seconds=LONG)
    assert (ended.status, ended.error) == ("Completed", None)
    children = records.list_jobs(workspace, parent="abc")
    assert {(child.name, child.status) for child in children} == {
        ("abc_line0", "Completed"), ("abc_line1", "Completed"), ("abc_line2", "Completed"),
    }  # fmt: skip
    assert b"".join(stream(workspace, "abc_line1")) == b"b\n"


def test_a_parent_and_its_children_find_the_records_in_sqlite_and_in_postgresql(
    any_workspace: Workspace, tmp_path: Path
) -> None:
    job = replace(job_of(tmp_path, "true", "name: anywhere\noutputs: {all: {}}\n"), command="echo a\nenv")
    submit_parent(any_workspace, job, kind="relay", module="tests.jobs.relay")
    assert wait(any_workspace, "anywhere", seconds=LONG).status == "Completed"
    assert {child.status for child in records.list_jobs(any_workspace, parent="anywhere")} == {"Completed"}
    assert b"DATABASE_URL" not in b"".join(stream(any_workspace, "anywhere_line1"))  # a step is no process of ours


def test_how_packages_are_fetched_is_known_to_a_parent_and_not_to_the_records(
    workspace: Workspace, relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_INDEX_OURS_PASSWORD", "not-for-the-records")
    job = relay("sleep 300", rest="name: fetches\n")
    running = attempt_folder(workspace.home, "fetches", 1).running
    until(running.exists)
    process = psutil.Process(json.loads(running.read_text())["pid"])
    until(lambda: process.environ().get("UV_INDEX_OURS_PASSWORD") == "not-for-the-records")
    assert "not-for-the-records" not in json.dumps(records.get(workspace, job.name).spec)
    cancel(workspace, job.name)
    wait(workspace, job.name, seconds=LONG)


def test_what_a_parent_writes_becomes_an_asset(workspace: Workspace, relay: Relay) -> None:
    relay("true", rest="name: giver\noutputs:\n  all:\n    name: given\n    version: 3\n")
    assert wait(workspace, "giver", seconds=LONG).status == "Completed"
    path = workspace.assets.path(workspace.assets.get("data", "given:3"))
    assert (path / "done").read_text() == "all"


def test_a_parent_that_fails_says_why_is_not_tried_again_and_leaves_no_child(
    workspace: Workspace, relay: Relay
) -> None:
    relay("sleep 100", "exit 4", rest="name: bad\n")
    ended = wait(workspace, "bad", seconds=LONG)
    assert (ended.status, ended.attempt) == ("Failed", 1)
    assert ended.error == "step 'line1' failed; studiolo job show bad_line1"
    assert records.get(workspace, "bad_line0").status == "Canceled"


@pytest.mark.slow
def test_a_parent_that_breaks_says_so(workspace: Workspace, relay: Relay) -> None:
    relay("true", rest="name: broken\noutputs:\n  x: {type: uri_file}\n")  # where a folder is expected
    ended = wait(workspace, "broken", seconds=LONG)
    assert ended.status == "Failed"
    assert str(ended.error).startswith("it broke: ")


def test_cancelling_a_parent_cancels_its_children(workspace: Workspace, relay: Relay) -> None:
    relay("sleep 41071", "sleep 41072", "sleep 41073", rest="name: slow\n")
    until(lambda: _status(workspace, "slow_line0") == "Running")
    cancel(workspace, "slow")
    assert wait(workspace, "slow", seconds=LONG).status == "Canceled"
    assert {child.status for child in records.list_jobs(workspace, parent="slow")} == {"Canceled"}
    assert not [each for each in psutil.process_iter(["cmdline"]) if "sleep', '4107" in str(each.info["cmdline"])]


@pytest.mark.parametrize("who", ["process", "shim"])
def test_a_parent_that_is_killed_goes_on_with_the_children_it_had(
    workspace: Workspace, relay: Relay, tmp_path: Path, who: str
) -> None:
    marks, gate = tmp_path / "marks", tmp_path / "gate"
    marks.mkdir()
    line = f"touch {marks}/$STUDIOLO_JOB.$$; until test -e {gate}; do sleep 0.05; done"
    relay("true", line, line, rest="name: relay\n")
    until(lambda: len(list(marks.iterdir())) >= 1)
    kill(workspace, "relay", who)
    until(lambda: records.get(workspace, "relay").attempt == 2)
    gate.touch()
    ended = wait(workspace, "relay", seconds=LONG)
    assert (ended.status, ended.attempt) == ("Completed", 2)
    assert len(list(marks.iterdir())) == 2
    assert {child.attempt for child in records.list_jobs(workspace, parent="relay")} == {1}


def test_a_parent_that_dies_for_good_leaves_no_running_child(workspace: Workspace, relay: Relay) -> None:
    relay("sleep 421", rest="name: mortal\n")
    until(lambda: _status(workspace, "mortal_line0") == "Running")
    with workspace.light.write() as statements:
        statements.change("UPDATE jobs SET retries = 0 WHERE name = 'mortal'")
    kill(workspace, "mortal", "shim")
    assert wait(workspace, "mortal", seconds=LONG).status == "Failed"
    assert wait(workspace, "mortal_line0", seconds=LONG).status == "Canceled"


def test_code_and_data_are_kept_as_they_are_when_a_parent_is_submitted(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src/say.sh").write_text("echo before")
    (tmp_path / "rows.txt").write_text("old rows")
    rest = "code: src\ninputs:\n  rows: {type: uri_file, path: rows.txt}\n  rate: 0.5\n"
    job = replace(job_of(tmp_path, "true", rest), command="bash say.sh; cat ${{inputs.rows}}; echo ${{inputs.rate}}")
    kept = keep(workspace, job)
    (tmp_path / "src/say.sh").write_text("echo after")
    (tmp_path / "rows.txt").write_text("new rows")
    submit_parent(workspace, replace(kept, name="old"), kind="relay", module="tests.jobs.relay")
    assert wait(workspace, "old", seconds=LONG).status == "Completed"
    assert b"".join(stream(workspace, "old_line0")) == b"before\nold rows0.5\n"


def test_a_parent_whose_data_is_not_there_is_refused(workspace: Workspace, relay: Relay) -> None:
    with pytest.raises(NotFound):
        relay("true", rest="inputs:\n  rows: {path: 'azureml:nowhere:1'}\n")


def test_names_of_children_are_no_longer_than_names_may_be() -> None:
    assert child_name("p", "a") == "p_a"
    long = child_name("p" * 200, "a")
    assert len(long) <= 150
    assert long != child_name("p" * 200, "b")


def _status(workspace: Workspace, name: str) -> str:
    rows = workspace.light.rows("SELECT status FROM jobs WHERE name = :name", name=name)
    return str(rows[0]["status"]) if rows else ""

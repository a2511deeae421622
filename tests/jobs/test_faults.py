"""Killed processes, after `reliability.md`: whoever dies, no job is lost, none is run twice, nothing is left."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jobs import folders, reconcile, records, states
from jobs.folders import attempt_folder
from jobs.leftovers import mark, marked
from jobs.submit import cancel, stream, wait
from tests.jobs.conftest import LONG, Submit, says, until
from tests.jobs.faults import counted, left_of, runs, shim_of, supervisor
from workspace.errors import Unavailable
from workspace.home import Workspace


@pytest.mark.parametrize(("kills", "count"), [(6, 8), pytest.param(50, 40, marks=pytest.mark.slow)])
def test_killing_the_supervisor_again_and_again_neither_loses_nor_doubles_a_job(
    workspace: Workspace, run: Submit, tmp_path: Path, kills: int, count: int
) -> None:
    names = [
        run(f"{counted(tmp_path)} (setsid sleep 300 &); sleep 0.{random.randrange(9)}; exit {number % 3}").name  # noqa: S311
        for number in range(count)
    ]
    for _ in range(kills):
        with supervisor(workspace):
            time.sleep(random.random())  # noqa: S311
    ended = [wait(workspace, name, seconds=3 * LONG) for name in names]
    assert [job.exit_code for job in ended] == [number % 3 for number in range(count)]
    assert [job.status == "Completed" for job in ended] == [number % 3 == 0 for number in range(count)]
    assert len(runs(tmp_path)) == len(set(runs(tmp_path))) == count
    assert [pid for job in ended for pid in left_of(job)] == []


def test_a_job_whose_submitter_died_before_it_started_a_shim_is_run_once(
    workspace: Workspace, run: Submit, tmp_path: Path
) -> None:
    done = wait(workspace, run(f"{counted(tmp_path)} true", "name: first\n").name, seconds=LONG)
    row = workspace.light.rows("SELECT * FROM jobs WHERE name = 'first'")[0]
    again = {key: row[key] for key in ("kind", "spec", "submitted_at", "place", "cpus")}
    spec = again["spec"].replace(str(done.run_id), "0" * 32)
    states.add(workspace.light, again | {"name": "second", "status": "Queued", "run_id": "0" * 32, "spec": spec})
    with supervisor(workspace):
        until(lambda: states.status_of(workspace.light, "second") == "Completed", 10)
    assert len(runs(tmp_path)) == 2


_DYING = """
import os, sys
from pathlib import Path
from jobs import shim, states
from jobs.command_process import Command, CommandProcess
from jobs.folders import attempt_folder, place_of
from jobs.needs import Capacity
from workspace.light_database import LightDatabase
home, how = Path(sys.argv[1]), sys.argv[2]
claimed = states.claim(LightDatabase(home), place_of(home), Capacity(100.0, 1 << 40))
folder = attempt_folder(home, claimed.name, claimed.number)
if how != "claimed":
    shim._claims(folder)
    folder.code.mkdir()
    line = ["/bin/bash", "-c", claimed.spec.command]
    variables = {"STUDIOLO_JOB": claimed.name, "STUDIOLO_ATTEMPT": "x", "PATH": os.environ["PATH"]}
    process = CommandProcess(Command(line=line, folder=folder.code, environment=variables), 1)
os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize("how", ["claimed", "spawned"])
def test_a_shim_that_dies_before_it_wrote_down_the_command_has_not_run_it(
    workspace: Workspace, run: Submit, tmp_path: Path, how: str
) -> None:
    """And the attempt is made again without a retry being counted: the job has none."""
    blocker = run("while test ! -e go; do sleep 0.05; done", "resources:\n  properties:\n    cpus: 2\n")
    until(lambda: records.get(workspace, blocker.name).status == "Running")
    job = run(f"{counted(tmp_path)} true")
    subprocess.run([sys.executable, "-c", _DYING, str(workspace.home), how], check=False, timeout=30)
    assert states.status_of(workspace.light, job.name) == "Starting"
    (attempt_folder(workspace.home, blocker.name, 1).code / "go").touch()
    ended = wait(workspace, job.name, seconds=LONG)
    assert (ended.status, ended.attempt) == ("Completed", 2)
    assert runs(tmp_path) == [f"{job.name} {mark(str(ended.run_id), 2)}"]
    assert [each.status for each in records.attempts(workspace, job.name)] == ["Lost", "Completed"]


def test_a_claim_is_taken_once_whatever_the_records_say(workspace: Workspace, run: Submit, tmp_path: Path) -> None:
    job = wait(workspace, run(f"{counted(tmp_path)} true").name, seconds=LONG)
    with workspace.light.write() as statements:  # as a backup that was restored would say it
        statements.change("DELETE FROM attempts")
        statements.change("UPDATE jobs SET status = 'Queued', attempt = 0, ended_at = NULL")
    ended = wait(workspace, job.name, seconds=LONG)
    assert (ended.status, ended.exit_code) == ("Completed", 0)
    assert len(runs(tmp_path)) == 1


def test_a_killed_shim_is_followed_by_a_new_attempt_within_ten_seconds_and_leaves_no_orphan(
    workspace: Workspace, run: Submit
) -> None:
    job = run("(setsid sleep 300 &) ; test -e ../../1/go || sleep 300; echo second", retries=1)
    with supervisor(workspace):
        shim = shim_of(workspace, job.name)
        until(lambda: len(marked(mark(str(job.run_id), 1))) >= 2)
        (attempt_folder(workspace.home, job.name, 1).path / "go").touch()
        shim.kill()
        until(lambda: states.status_of(workspace.light, job.name) == "Completed", 10)
    ended = records.get(workspace, job.name)
    assert ended.attempt == 2
    assert left_of(ended) == []
    assert attempt_folder(workspace.home, job.name, 1).running.exists()


def test_a_job_without_retries_whose_shim_died_has_failed_and_says_why(workspace: Workspace, run: Submit) -> None:
    job = run("sleep 300")
    shim_of(workspace, job.name).kill()
    ended = wait(workspace, job.name, seconds=10)
    assert (ended.status, ended.exit_code) == ("Failed", None)
    assert "supervising process died" in str(ended.error)
    assert left_of(ended) == []
    assert workspace.runs.get(str(ended.run_id)).status == "FAILED"


def test_a_dead_shims_job_that_nobody_can_read_stands_in_nobodys_way(workspace: Workspace, run: Submit) -> None:
    job = run("sleep 300")
    shim_of(workspace, job.name).kill()
    with workspace.light.write() as statements:
        statements.change("UPDATE jobs SET spec = :spec", spec='{"inputs": {"a": {}}}')
    reconcile.look(workspace)
    ended = records.get(workspace, job.name)
    assert (ended.status, "cannot be read" in str(ended.error)) == ("Failed", True)
    assert records.attempts(workspace, job.name)[0].status == "Lost"


def test_a_living_shim_sees_to_the_job_of_a_dead_one(workspace: Workspace, run: Submit, tmp_path: Path) -> None:
    """Without a supervisor, and with nobody who looks."""
    long = run("sleep 14", "name: long\nresources:\n  properties:\n    cpus: 0.1\n")
    shim_of(workspace, long.name)
    job = run(f"{counted(tmp_path)} test $(wc -l < {tmp_path}/ran) -gt 1 || sleep 300", retries=1)
    shim_of(workspace, job.name).kill()
    until(lambda: states.status_of(workspace.light, job.name) == "Completed", 14)
    assert states.status_of(workspace.light, "long") == "Running"


def test_a_number_that_another_process_has_now_is_neither_taken_for_the_shim_nor_killed(
    workspace: Workspace, run: Submit
) -> None:
    job = run("sleep 300")
    shim = shim_of(workspace, job.name)
    stranger = subprocess.Popen(["/bin/sleep", "300"])
    try:
        shim.kill()
        with workspace.light.write() as statements:
            statements.change("UPDATE attempts SET shim_pid = :pid", pid=stranger.pid)
        assert wait(workspace, job.name, seconds=10).status == "Failed"
        assert cancel(workspace, job.name).status == "Failed"
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


@pytest.mark.parametrize("count", [40, pytest.param(1000, marks=pytest.mark.slow)])
def test_two_supervisors_start_no_job_twice(workspace: Workspace, run: Submit, tmp_path: Path, count: int) -> None:
    with supervisor(workspace), supervisor(workspace):
        names = [run(f"{counted(tmp_path)} true").name for _ in range(count)]
        for name in names:
            assert wait(workspace, name, seconds=5 * LONG).status == "Completed"
    assert len(runs(tmp_path)) == len(set(runs(tmp_path))) == count


@pytest.mark.parametrize("seconds", [4, pytest.param(60, marks=pytest.mark.slow)])
def test_a_supervisor_that_slept_doubles_nothing(
    workspace: Workspace, run: Submit, tmp_path: Path, seconds: int
) -> None:
    with supervisor(workspace) as sleeping:
        job = run(f"{counted(tmp_path)} test $(wc -l < {tmp_path}/ran) -gt 1 || sleep 300", retries=1)
        shim = shim_of(workspace, job.name)
        sleeping.send_signal(signal.SIGSTOP)
        shim.kill()
        wait(workspace, job.name, seconds=LONG)
        time.sleep(seconds)
        more = run(f"{counted(tmp_path)} true")
        wait(workspace, more.name, seconds=LONG)
        sleeping.send_signal(signal.SIGCONT)
        time.sleep(2.5)
    assert len(runs(tmp_path)) == len(set(runs(tmp_path))) == 3
    assert records.get(workspace, job.name).status == "Completed"


@pytest.mark.parametrize("times", [25, pytest.param(500, marks=pytest.mark.slow)])
def test_whenever_a_job_is_cancelled_it_ends_once_and_leaves_nothing(
    workspace: Workspace, run: Submit, times: int
) -> None:
    chance = random.Random(7)  # noqa: S311
    for _ in range(times):
        job = run(f"sleep 0.0{chance.randrange(10)}; echo done")
        time.sleep(chance.choice([0, 0, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12]))
        cancel(workspace, job.name)
        ended = wait(workspace, job.name, seconds=LONG)
        assert ended.status in ("Canceled", "Completed")
        time.sleep(0.01)
        assert records.get(workspace, job.name) == ended
        assert left_of(ended) == []


def test_what_a_crashed_attempt_has_written_is_seen_by_nobody(workspace: Workspace, run: Submit) -> None:
    command = (
        "ls ${{outputs.o}} | wc -l; echo $STUDIOLO_ATTEMPT > ${{outputs.o}}/x; echo on; test -e ../../1/go || sleep 300"
    )
    job = run(command, "outputs:\n  o: {}\n", retries=1)
    says(workspace, job, b"on")
    (attempt_folder(workspace.home, job.name, 1).path / "go").touch()
    assert not folders.outputs_of(workspace.home, job.name).exists()
    shim_of(workspace, job.name).kill()
    ended = wait(workspace, job.name, seconds=LONG)
    assert ended.status == "Completed"
    assert b"".join(stream(workspace, job.name)) == b"0\non\n0\non\n"
    assert (folders.outputs_of(workspace.home, job.name) / "o/x").read_text() == f"{mark(str(ended.run_id), 2)}\n"


def test_who_finds_an_exit_that_nobody_recorded_goes_on_from_there(workspace: Workspace, run: Submit) -> None:
    """The shim died between the exit record and the end: the outputs are published, the exit code is the command's."""
    job = run("echo x > ${{outputs.o}}/x", "name: half\noutputs:\n  o: {}\n")
    wait(workspace, job.name, seconds=LONG)
    folder = attempt_folder(workspace.home, "half", 1)
    shutil.move(folders.outputs_of(workspace.home, "half"), folder.outputs)
    with workspace.light.write() as statements:
        statements.change("UPDATE jobs SET status = 'Finalizing', exit_code = NULL, ended_at = NULL")
        statements.change("UPDATE attempts SET status = 'Finalizing', shim_pid = 999999999")
    ended = wait(workspace, "half", seconds=LONG)
    assert (ended.status, ended.exit_code) == ("Completed", 0)
    assert (folders.outputs_of(workspace.home, "half") / "o/x").read_text() == "x\n"


def test_a_wait_that_takes_too_long_says_how_the_job_stands(workspace: Workspace, run: Submit) -> None:
    job = run("sleep 300")
    with pytest.raises(Unavailable, match="is still"):
        wait(workspace, job.name, seconds=0.3)
    cancel(workspace, job.name)
    wait(workspace, job.name, seconds=LONG)

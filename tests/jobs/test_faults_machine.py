"""Faults of the machine, after `reliability.md`: its disk, its clock, its memory, its database, what jobs print."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs import folders, reconcile, records, states
from jobs.folders import attempt_folder
from jobs.records import JobRecord
from jobs.submit import stream, submit, wait
from tests.jobs.conftest import LONG, Submit, job_of, says
from tests.jobs.faults import counted, left_of, runs, shim_of
from workspace.errors import StudioloError
from workspace.home import Workspace
from workspace.settings import Settings


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_that_jumps_makes_no_job_look_lost(workspace: Workspace, run: Submit, hours: int) -> None:
    """What was written before the jump looks an hour older or younger; the clock itself is not ours to change."""
    job = run("sleep 2", "limits:\n  timeout: 30\n")
    shim_of(workspace, job.name)
    shift = hours * 3600.0
    with workspace.light.write() as statements:
        statements.change("UPDATE jobs SET started_at = started_at + :shift", shift=shift)
        statements.change("UPDATE attempts SET started_at = started_at + :shift", shift=shift)
    folder = attempt_folder(workspace.home, job.name, 1)
    for path in (folder.path, *folder.path.iterdir()):
        os.utime(path, (time.time() + shift, time.time() + shift))
    assert reconcile.look(workspace) == 0
    ended = wait(workspace, job.name, seconds=LONG)
    assert (ended.status, ended.attempt) == ("Completed", 1)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of eight megabytes."""
    place = tmp_path / "small"
    place.mkdir()
    mount, umount = shutil.which("mount"), shutil.which("umount")
    if mount is None or umount is None or os.geteuid():
        pytest.skip("only root can make a small disk")
    if subprocess.run([mount, "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(place)], check=False).returncode:
        pytest.skip("no disk can be mounted here")
    try:
        yield place
    finally:
        subprocess.run([umount, "-l", str(place)], check=True)


def fill(place: Path) -> Path:
    """Take all the room there is."""
    path = place / "filler"
    with path.open("wb", buffering=0) as file:
        for size in (1 << 16, 512):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                continue
    return path


def submit_many(workspace: Workspace, folder: Path) -> None:
    for number in range(50):  # what is left of the database's own pages takes a few
        submit(workspace, job_of(folder, "true", f"name: job{number}\n"))


def test_on_a_full_disk_submitting_is_refused_and_works_again_when_there_is_room(small: Path, tmp_path: Path) -> None:
    with Workspace.open(settings=Settings(home=small / "home")) as workspace:
        filler = fill(small)
        with pytest.raises(StudioloError, match=r"disk is full|no room left"):
            submit_many(workspace, tmp_path)
        filler.unlink()
        assert wait(workspace, submit(workspace, job_of(tmp_path, "true")).name, seconds=LONG).status == "Completed"
        for job in records.list_jobs(workspace):
            assert wait(workspace, job.name, seconds=LONG).status == "Completed"


def test_a_job_that_ends_on_a_full_disk_is_recorded_when_there_is_room(small: Path, tmp_path: Path) -> None:
    with Workspace.open(settings=Settings(home=small / "home")) as workspace:
        command = f"echo on; while test ! -e {tmp_path}/go; do sleep 0.05; done; echo off; exit 5"
        job = submit(workspace, job_of(tmp_path, command))
        says(workspace, job, b"on")
        filler = fill(small)
        (tmp_path / "go").touch()
        time.sleep(1.5)
        folder = attempt_folder(workspace.home, job.name, 1)
        if folder.exit.exists():
            assert folders.read_record(folder.exit)  # whole, or not there
        assert states.status_of(workspace.light, job.name) in ("Running", "Failed")
        filler.unlink()
        ended = wait(workspace, job.name, seconds=LONG)
        assert (ended.status, ended.exit_code, ended.attempt) == ("Failed", 5, 1)


@pytest.mark.parametrize("seconds", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_a_database_that_somebody_keeps_locked_is_waited_for(
    workspace: Workspace, run: Submit, tmp_path: Path, seconds: int
) -> None:
    job = run(f"{counted(tmp_path)} sleep 1; exit 4")
    shim_of(workspace, job.name)
    other = sqlite3.connect(workspace.home / "studiolo.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    submitted: list[JobRecord] = []
    submitter = threading.Thread(target=lambda: submitted.append(run(f"{counted(tmp_path)} true")))
    submitter.start()
    time.sleep(seconds)
    assert submitted == []
    other.execute("ROLLBACK")
    other.close()
    submitter.join(LONG)
    assert wait(workspace, submitted[0].name, seconds=LONG).status == "Completed"
    ended = wait(workspace, job.name, seconds=LONG)
    assert (ended.status, ended.exit_code) == ("Failed", 4)
    assert len(runs(tmp_path)) == 2


@pytest.mark.parametrize("megabytes", [64, pytest.param(1000, marks=pytest.mark.slow)])
def test_a_line_without_an_end_costs_the_shim_no_memory_and_the_disk_a_megabyte(
    workspace: Workspace, run: Submit, megabytes: int
) -> None:
    job = run(f"head -c {megabytes}000000 /dev/zero | tr '\\0' x; echo; echo after; sleep 1")
    shim = shim_of(workspace, job.name)
    says(workspace, job, b"after")
    assert shim.memory_info().rss < 100_000_000
    said = b"".join(stream(workspace, job.name))
    assert len(said) < 1_001_000
    assert said.endswith(b"bytes of this line left out]\nafter\n")
    assert wait(workspace, job.name, seconds=LONG).status == "Completed"


def test_words_that_are_no_text_pass_unchanged(workspace: Workspace, run: Submit) -> None:
    job = run(r"printf '\377\376\000\033[31m'; echo; echo after")
    assert b"".join(stream(workspace, job.name)) == b"\xff\xfe\x00\x1b[31m\nafter\n"


def test_a_job_that_always_runs_out_of_memory_is_tried_as_often_as_it_may(workspace: Workspace, run: Submit) -> None:
    job = run(f'ulimit -v 300000; exec {sys.executable} -S -c "x = bytearray(10**9)"', retries=2)
    ended = wait(workspace, job.name, seconds=LONG)
    assert (ended.status, ended.exit_code, ended.attempt) == ("Failed", 1, 3)
    assert b"MemoryError" in b"".join(stream(workspace, job.name))


@pytest.mark.parametrize(("retries", "status"), [(0, "Failed"), (1, "Completed")])
def test_a_job_that_ran_when_the_machine_went_down_is_lost_then_tried_again(
    workspace: Workspace, run: Submit, retries: int, status: str
) -> None:
    """The machine's boot is another one and nobody has the numbers any more: what is on the disk is as it was."""
    job = run("echo on; test -e ../../1/down && exit 0; sleep 300", retries=retries)
    says(workspace, job, b"on")
    shim = shim_of(workspace, job.name)
    folder = attempt_folder(workspace.home, job.name, 1)
    (folder.path / "down").touch()
    with workspace.light.write() as statements:
        statements.change("UPDATE attempts SET boot = 'the one before'")
    shim.kill()
    ended = wait(workspace, job.name, seconds=10)
    assert ended.status == status
    assert records.attempts(workspace, job.name)[0].status == "Lost"
    assert (folder.logs / "std_log.txt").read_bytes() == b"on\n"
    assert left_of(ended) == []

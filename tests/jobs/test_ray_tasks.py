"""Children of a parent on Ray: they are tasks of one driver, begun in a moment, once, and lost when it dies."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from jobs import records
from jobs.folders import outputs_of
from jobs.leftovers import mark, marked
from jobs.ray.cluster import Cluster
from jobs.records import JobRecord
from jobs.submit import Wishes, cancel, stream, submit, wait
from tests.jobs.conftest import LONG, job_of, says, until
from tests.jobs.sweeping import plain_python as plain_python
from tests.jobs.sweeping import sweep
from workspace.home import Workspace
from workspace.settings import Settings

pytestmark = [pytest.mark.ray, pytest.mark.timeout(240)]


@pytest.fixture
def workspace(tmp_path: Path, ray_head: Cluster) -> Iterator[Workspace]:
    settings = Settings(home=tmp_path / "home", ray_address=ray_head.url, ray_token_file=ray_head.token)
    with Workspace.open(settings=settings) as opened:
        yield opened
    for each in drivers(tmp_path):
        each.kill()


def drivers(folder: Path) -> list[psutil.Process]:
    lines = ((each, " ".join(each.info["cmdline"] or [])) for each in psutil.process_iter(["cmdline"]))
    return [each for each, line in lines if "tasks.py" in line and str(folder) in line]


def child(workspace: Workspace, folder: Path, command: str, rest: str = "", retries: int = 0) -> JobRecord:
    return submit(workspace, job_of(folder, command, f"compute: ray\n{rest}"), Wishes(parent="p", retries=retries))


@pytest.mark.slow
def test_children_are_tasks_of_one_driver(workspace: Workspace, tmp_path: Path) -> None:
    first = child(workspace, tmp_path, "echo $RAY_ADDRESS; echo 1 > ${{outputs.o}}/x", "outputs:\n  o: {}\n")
    ended = wait(workspace, first.name, seconds=LONG)
    assert (ended.status, ended.error) == ("Completed", None)
    assert b"".join(stream(workspace, first.name)).strip()
    assert workspace.assets.get("data", f"{first.name}-o")
    began = time.monotonic()
    names = [child(workspace, tmp_path, f"echo {number}; exit {number % 2}").name for number in range(8)]
    rest = [wait(workspace, name, seconds=LONG) for name in names]
    assert [job.exit_code for job in rest] == [0, 1] * 4
    assert [b"".join(stream(workspace, name)) for name in names] == [b"%d\n" % number for number in range(8)]
    assert time.monotonic() - began < 8 * 2.0  # a Ray job alone takes longer than that
    assert len(drivers(tmp_path)) == 1


def test_the_trials_of_a_sweep_are_ray_tasks_and_the_best_ones_outputs_are_its(
    workspace: Workspace, tmp_path: Path
) -> None:
    script = 'log(float(sys.argv[1]))\nopen(os.environ["AZURE_ML_OUTPUT_model"] + "/x", "w").write(sys.argv[1])\n'
    sweep(workspace, tmp_path, script, rest="compute: ray\noutputs:\n  model: {}\n")
    job = wait(workspace, "tune", seconds=2 * LONG)
    assert job.status == "Completed", b"".join(stream(workspace, "tune"))
    trials = records.list_jobs(workspace, parent="tune")
    assert [trial.spec["ray"]["together"] for trial in trials] == [True] * 3
    assert (outputs_of(workspace.home, "tune") / "model/x").read_text() == "3"
    assert len(drivers(tmp_path)) == 1


def test_a_child_that_waits_and_one_that_runs_can_be_cancelled(workspace: Workspace, tmp_path: Path) -> None:
    runs = child(workspace, tmp_path, "trap 'echo saved; exit 0' TERM; echo on; while :; do sleep 0.1; done")
    waits = child(workspace, tmp_path, "echo never", "resources:\n  properties:\n    cpus: 100\n")
    says(workspace, runs, b"on")
    for job in (waits, runs):
        cancel(workspace, job.name)
        assert wait(workspace, job.name, seconds=LONG).status == "Canceled"
    assert b"saved" in b"".join(stream(workspace, runs.name))
    assert b"".join(stream(workspace, waits.name)) == b""
    assert marked(mark(str(runs.run_id), 1)) == []


@pytest.mark.slow
def test_when_the_driver_of_tasks_dies_another_attempt_is_run_by_another_driver(
    workspace: Workspace, tmp_path: Path
) -> None:
    line = f"echo ran >> {tmp_path}/ran; echo on; test $(wc -l < {tmp_path}/ran) = 2 || sleep 300"
    job = child(workspace, tmp_path, line, retries=1)
    says(workspace, job, b"on")
    began = time.monotonic()
    until(lambda: drivers(tmp_path))
    for each in drivers(tmp_path):
        each.kill()
    ended = wait(workspace, job.name, seconds=LONG)
    assert time.monotonic() - began < 60
    assert (ended.status, ended.attempt) == ("Completed", 2)
    assert [each.status for each in records.attempts(workspace, job.name)] == ["Lost", "Completed"]
    assert (tmp_path / "ran").read_text() == "ran\n" * 2

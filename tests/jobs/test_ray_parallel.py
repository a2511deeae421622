"""Parallel steps whose mini-batches are worked on by processes that Ray places: the same promises as on one machine."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from jobs.leftovers import mark, marked
from jobs.ray.cluster import Cluster
from jobs.records import JobRecord
from jobs.submit import Wishes, cancel, wait
from tests.jobs.conftest import LONG, says, until
from tests.jobs.sweeping import plain_python as plain_python
from tests.jobs.test_parallel_killed import STOPS
from tests.jobs.test_parallel_step import begun, failed, files, rows, said
from workspace.home import Workspace
from workspace.settings import Settings

pytestmark = [pytest.mark.ray, pytest.mark.timeout(240)]


@pytest.fixture
def workspace(tmp_path: Path, ray_head: Cluster) -> Iterator[Workspace]:
    settings = Settings(home=tmp_path / "home", ray_address=ray_head.url, ray_token_file=ray_head.token)
    with Workspace.open(settings=settings) as opened:
        yield opened


def on_ray(workspace: Workspace, folder: Path, script: str, data: Path, **given: Any) -> JobRecord:
    name = f"score-{secrets.token_hex(4)}"  # one head for all tests, and Ray runs no name twice
    return begun(workspace, folder, script, data, **{"compute": "ray", "name": name, **given})


def test_workers_get_the_job_s_environment_and_nothing_of_whoever_submits_it(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANARY_OF_OURS", "hush")
    monkeypatch.setenv("OPENAI_API_KEY", "hush")
    script = """
import os
def run(mini_batch):
    return [name for name in ("CANARY_OF_OURS", "OPENAI_API_KEY", "OF_THE_JOB") if name in os.environ]
"""
    job = on_ray(workspace, tmp_path, script, files(tmp_path, "a"), environment_variables={"OF_THE_JOB": "1"},
                 error_threshold=-1)  # fmt: skip
    assert rows(workspace, job.name) == ["OF_THE_JOB"]


def test_workers_are_placed_by_ray_and_keep_to_the_policy(workspace: Workspace, tmp_path: Path) -> None:
    """`init` once a process, retries, rows in order, the script's words in the log; the job's own Python."""
    script = f"""
import os, sys
def init():
    print("begun below", open(f"/proc/{{os.getppid()}}/cmdline").read().split("\\0")[0], flush=True)
def run(mini_batch, context):
    text = open(mini_batch[0]).read()
    with open({str(tmp_path / "tries")!r}, "a") as file:
        file.write(text)
    tries = open({str(tmp_path / "tries")!r}).read().count(text)
    if text == "b" or (text == "c" and tries == 1):
        raise ValueError("no " + text)
    if text == "d" and tries == 1:
        os._exit(9)
    return [(text, context.minibatch_index, sys.prefix != sys.base_prefix)]
def shutdown():
    print("shut down")
"""
    job = on_ray(
        workspace, tmp_path, script, files(tmp_path, *"abcd"), retry_settings={"max_retries": 1, "timeout": 30}
    )
    found = rows(workspace, job.name)
    assert [line.split()[0] for line in found] == ["a", "c", "d"], said(workspace, job.name)
    told = said(workspace, job.name)
    assert "4 items in 4 mini-batches, 2 workers" in told
    begun_there = told.count("begun below ray::Seat")
    assert begun_there in (2, 3), told  # another one may not have been placed before all was done
    assert "mini-batch 1 has failed for good, 1 items: ValueError: no b" in told
    assert "mini-batch 3 is tried again: its process ended with exit code 9" in told
    assert told.count("shut down") == begun_there - 1
    assert sorted((tmp_path / "tries").read_text()) == sorted("abbccdd")


def test_one_that_takes_too_long_is_replaced_and_too_many_failures_fail_the_job(
    workspace: Workspace, tmp_path: Path
) -> None:
    script = """
import time
def run(mini_batch):
    time.sleep(60 if "b" in open(mini_batch[0]).read() else 0)
    return ["x"]
"""
    job = on_ray(workspace, tmp_path, script, files(tmp_path, *"abc"), retry_settings={"max_retries": 0, "timeout": 1},
           max_concurrency_per_instance=1, mini_batch_error_threshold=0)  # fmt: skip
    told = failed(workspace, job.name)
    assert "mini-batch 1 has failed for good, 1 items: it took more than 1 s" in told
    assert "1 mini-batches have failed, and mini_batch_error_threshold is 0" in told


def test_more_workers_than_there_is_room_for_wait_and_the_others_do_the_work(
    workspace: Workspace, tmp_path: Path
) -> None:
    """The head has four cores: a worker with three of them is alone."""
    script = "import os\ndef run(mini_batch):\n    return [os.getpid()]"
    resources = {"instance_count": 2, "properties": {"cpus": 3}}
    job = on_ray(
        workspace, tmp_path, script, files(tmp_path, *"abcd"), max_concurrency_per_instance=1, resources=resources
    )
    assert len(set(rows(workspace, job.name))) == 1
    assert "4 mini-batches, 2 workers" in said(workspace, job.name)


def test_as_many_workers_as_a_machine_of_the_cluster_has_cores(workspace: Workspace, tmp_path: Path) -> None:
    script = "def run(mini_batch):\n    return mini_batch"
    job = on_ray(workspace, tmp_path, script, files(tmp_path, *"ab"), max_concurrency_per_instance=None)
    assert len(rows(workspace, job.name)) == 2
    assert "2 mini-batches, 4 workers" in said(workspace, job.name)


def test_a_killed_driver_is_followed_by_an_attempt_that_goes_on(workspace: Workspace, tmp_path: Path) -> None:
    tries = tmp_path / "tries"
    outputs = {"scores": {"type": "uri_file"}, "more": {"type": "uri_folder"}}
    data = files(tmp_path, *"abcd")
    job = on_ray(workspace, tmp_path, STOPS.format(tries=str(tries)), data, outputs=outputs,
                 max_concurrency_per_instance=1, retry_settings={"timeout": 300}, wishes=Wishes(retries=1))  # fmt: skip
    until(lambda: tries.exists() and tries.read_text() == "abc")
    driver(tmp_path).kill()
    assert rows(workspace, job.name) == list("ABCD")
    assert tries.read_text() == "abccd"
    assert "2 mini-batches taken over from the attempt before" in said(workspace, job.name)
    assert marked(mark(str(job.run_id), 1)) == []


def test_workers_that_are_cancelled_can_save(workspace: Workspace, tmp_path: Path) -> None:
    script = """
import signal, sys, time
def stop(*_):
    print("saved", flush=True)
    sys.exit(0)
def run(mini_batch):
    signal.signal(signal.SIGTERM, stop)
    print("on", flush=True)
    time.sleep(300)
"""
    job = on_ray(workspace, tmp_path, script, files(tmp_path, "a"), retry_settings={"timeout": 300})
    says(workspace, job, b"on")
    cancel(workspace, job.name)
    assert wait(workspace, job.name, seconds=LONG).status == "Canceled"
    assert "saved" in said(workspace, job.name)
    assert marked(mark(str(job.run_id), 1)) == []


def test_as_a_child_of_a_pipeline_it_is_a_ray_task_that_has_others(workspace: Workspace, tmp_path: Path) -> None:
    script = "def run(mini_batch):\n    return [open(mini_batch[0]).read()]"
    job = on_ray(workspace, tmp_path, script, files(tmp_path, *"ab"), wishes=Wishes(parent="p"))
    assert rows(workspace, job.name) == ["a", "b"]
    assert job.spec["ray"]["together"]
    for each in psutil.process_iter(["cmdline"]):
        if "tasks.py" in " ".join(each.info["cmdline"] or []) and str(tmp_path) in " ".join(each.info["cmdline"]):
            each.kill()


@pytest.mark.slow
def test_where_no_files_are_shared_all_of_it_is_on_one_machine(
    workspace: Workspace, tmp_path: Path, ray_head: Cluster
) -> None:
    script = "def run(mini_batch):\n    return [open(mini_batch[0]).read().upper()]"
    job = on_ray(workspace, tmp_path, script, files(tmp_path, *"ab"), compute=f"{ray_head.url}?files=upload",
                 environment={"conda_file": {"dependencies": ["pip"]}})  # fmt: skip
    assert rows(workspace, job.name, seconds=3 * LONG) == ["A", "B"]


def driver(folder: Path) -> psutil.Process:
    """Return the driver of a step, by what it was told."""
    for each in psutil.process_iter(["cmdline"]):
        line = each.info["cmdline"] or []
        if "-I" in line and any("jobs.parallel.driver" in word for word in line) and str(folder) in " ".join(line):
            return each
    raise AssertionError("no driver runs")

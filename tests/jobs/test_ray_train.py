"""Distributed training on Ray: every node of a PyTorch job is a worker of Ray Train."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.distribution.launch import free_ports
from jobs.leftovers import MARKER, end_marked, mark, marked
from jobs.ray.api import Head
from jobs.ray.cluster import Cluster
from jobs.submit import cancel, stream, submit, wait
from tests.jobs.conftest import LONG, job_of, says, until
from tests.jobs.test_distribution import _REDUCE
from workspace.home import Workspace
from workspace.settings import Settings

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(240)]

REST = (
    "compute: ray\ncode: src\ndistribution:\n  type: pytorch\n  process_count_per_instance: 1\n"
    "resources:\n  instance_count: 2\n  properties:\n    cpus: 0.5\n"
)


@pytest.fixture
def workspace(tmp_path: Path, ray_head: Cluster) -> Iterator[Workspace]:
    settings = Settings(home=tmp_path / "home", ray_address=ray_head.url, ray_token_file=ray_head.token)
    (tmp_path / "src").mkdir()
    (tmp_path / "src/reduce.py").write_text(_REDUCE)
    with Workspace.open(settings=settings) as opened:
        yield opened


def test_workers_of_ray_train_reduce_a_number_together(workspace: Workspace, tmp_path: Path) -> None:
    job = submit(workspace, job_of(tmp_path, "python reduce.py 2>/dev/null", REST))
    said = b"".join(stream(workspace, job.name)).decode()
    ended = wait(workspace, job.name, seconds=3 * LONG)
    assert (ended.status, ended.error) == ("Completed", None), said
    assert sorted(said.splitlines()) == ["[0] sum 3.0 of 2", "[1] sum 3.0 of 2"]
    logs = workspace.runs.get(str(ended.run_id)).directory / "artifacts/logs"
    assert (logs / "std_log_process_1.txt").read_text() == "sum 3.0 of 2\n"


@pytest.fixture
def second_node(ray_head: Cluster) -> Iterator[None]:
    """Another machine of the cluster, which is this one too."""
    ports = free_ports(3)
    line = [
        str(Path(sys.executable).parent / "ray"), "start", f"--address={ray_head.address}", "--block", "--num-cpus=3",
        f"--dashboard-agent-listen-port={ports[0]}", f"--runtime-env-agent-port={ports[1]}",
        f"--metrics-export-port={ports[2]}", "--disable-usage-stats",
    ]  # fmt: skip
    told = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": ray_head.token, MARKER: ray_head.mark + "b"}
    process = subprocess.Popen(line, env=os.environ | told, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: len(Head.of(ray_head.url, ray_head.token).nodes()) == 2)
        yield
    finally:
        process.terminate()
        process.wait(60)
        end_marked(ray_head.mark + "b")


@pytest.mark.usefixtures("second_node")
def test_workers_that_do_not_fit_on_one_node_train_on_two(workspace: Workspace, tmp_path: Path) -> None:
    """A worker needs three cores; one node has four, the other three."""
    job = submit(workspace, job_of(tmp_path, "python reduce.py 2>/dev/null", REST.replace("cpus: 0.5", "cpus: 3")))
    said = b"".join(stream(workspace, job.name)).decode().splitlines()
    assert wait(workspace, job.name, seconds=3 * LONG).status == "Completed", said
    assert sorted(said) == ["[0] sum 3.0 of 2", "[1] sum 3.0 of 2"]


def test_a_worker_that_fails_ends_the_others_and_its_code_is_the_jobs(workspace: Workspace, tmp_path: Path) -> None:
    job = submit(workspace, job_of(tmp_path, "test $RANK = 1 && exit 9; sleep 300", REST))
    ended = wait(workspace, job.name, seconds=3 * LONG)
    assert (ended.status, ended.exit_code) == ("Failed", 9)
    assert marked(mark(str(ended.run_id), 1)) == []


def test_workers_that_are_cancelled_can_save(workspace: Workspace, tmp_path: Path) -> None:
    line = "trap 'echo saved; exit 0' TERM; echo on $RANK; while :; do sleep 0.1; done"
    job = submit(workspace, job_of(tmp_path, line, REST))
    says(workspace, job, b"on 0")
    says(workspace, job, b"on 1")
    cancel(workspace, job.name)
    ended = wait(workspace, job.name, seconds=3 * LONG)
    assert ended.status == "Canceled"
    assert b"".join(stream(workspace, job.name)).count(b"saved") == 2
    assert marked(mark(str(ended.run_id), 1)) == []

"""What tests of jobs are given: a way to submit a command, and a real PostgreSQL server."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jobs.files import read_job
from jobs.files.command import CommandJob
from jobs.folders import attempt_folder
from jobs.ray.cluster import Cluster
from jobs.records import JobRecord
from jobs.submit import Wishes, submit
from tests.workspace.conftest import any_workspace as any_workspace
from tests.workspace.conftest import postgres_server as postgres_server
from tests.workspace.conftest import postgres_url as postgres_url
from workspace.home import Workspace
from workspace.settings import Settings

LONG = 60.0
Submit = Callable[..., JobRecord]


def job_of(folder: Path, command: str, rest: str = "") -> CommandJob:
    """Write a job file with a command and read it: `job_of(tmp_path, "echo hi", "name: hi\\n")`."""
    path = folder / "job.yml"
    path.write_text(f"command: >-\n  {command}\n{rest}")
    job = read_job(path)
    assert isinstance(job, CommandJob)
    return job


@pytest.fixture(scope="session")
def ray_head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A real Ray head, one for all tests: it takes half a minute and two gigabytes."""
    pytest.importorskip("ray")
    from jobs.ray import cluster

    settings = Settings(home=tmp_path_factory.mktemp("ray"))
    try:
        yield cluster.up(settings, cpus=4)
    finally:
        cluster.down(settings)


@pytest.fixture
def run(workspace: Workspace, tmp_path: Path) -> Submit:
    """Submit a command: `run("echo hi", "name: hi\\n", retries=2)`."""

    def submitted(command: str, rest: str = "", **wishes: object) -> JobRecord:
        return submit(workspace, job_of(tmp_path, command, rest), Wishes(**wishes))  # type: ignore[arg-type]

    return submitted


def until(condition: Callable[[], object], seconds: float = LONG) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "this did not happen"
        time.sleep(0.02)


def says(workspace: Workspace, job: JobRecord, words: bytes, number: int = 1) -> None:
    """Wait until an attempt of the job has said something."""
    log = attempt_folder(workspace.home, job.name, number).logs / "std_log.txt"
    until(lambda: log.exists() and words in log.read_bytes())

"""What tests of pipelines use: a way to run one, and to see what became of its steps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from jobs import records
from jobs.create import create
from jobs.files import read_job
from jobs.folders import outputs_of
from jobs.records import JobRecord
from jobs.submit import stream, wait
from tests.jobs.conftest import LONG
from workspace.home import Workspace

# Components name an environment: this one is made in a moment.
ENVIRONMENT = "environment: {image: ubuntu, conda_file: {dependencies: [{pip: [--no-index]}]}}\n"
Run = Callable[..., JobRecord]


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the environment of these components is made, once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def run_pipeline(workspace: Workspace, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Write a pipeline into `tmp_path`, submit it and wait for its end: `run_pipeline("type: pipeline …")`."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))

    def submitted(text: str, *, waits: bool = True, status: str = "Completed") -> JobRecord:
        path = tmp_path / "pipeline.yml"
        path.write_text(text)
        job = create(workspace, read_job(path))
        if not waits:
            return job
        ended = wait(workspace, job.name, seconds=LONG)
        assert ended.status == status, (ended.error, log_of(workspace, job.name))
        return ended

    return submitted


def statuses(workspace: Workspace, name: str) -> dict[str, str]:
    """Return what has become of the steps of a pipeline."""
    children = records.list_jobs(workspace, parent=name, limit=1000)
    return {child.name.removeprefix(f"{name}_"): child.status for child in children}


def log_of(workspace: Workspace, name: str) -> str:
    """Return what a job has said."""
    return b"".join(stream(workspace, name)).decode()


def output(workspace: Workspace, name: str, port: str, file: str = "") -> str:
    """Return what a job has left."""
    return (outputs_of(workspace.home, name) / port / file).read_text()

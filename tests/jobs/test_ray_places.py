"""Which Ray cluster a job means, told from what its file says; no Ray is needed to know."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from jobs.needs import Needs
from jobs.ray.computes import address_of
from jobs.ray.places import Place, place_of
from jobs.submit import cancel, submit, wait
from tests.jobs.conftest import LONG, job_of
from workspace.errors import Invalid, NotFound
from workspace.home import Workspace
from workspace.settings import Settings


@pytest.mark.parametrize(
    ("compute", "address"),
    [
        (None, None), ("local", None), ("azureml:cpu-cluster", None), ("serverless", None), ("ray", "ray"),
        ("azureml:ray", "ray"), ("http://head:8265", "http://head:8265"), ("ray://head", "ray://head"),
        ("azureml:far", "ray://far:10001"), ("far", "ray://far:10001"),
        ("/subscriptions/a/resourceGroups/b/providers/c/workspaces/d/computes/far", "ray://far:10001"),
    ],
)  # fmt: skip
def test_a_compute_names_a_cluster(workspace: Workspace, compute: str | None, address: str | None) -> None:
    workspace.resources.put("compute", "far", {"name": "far", "resource_id": "ray://far:10001"}, secrets={})
    assert address_of(workspace, compute) == address


@pytest.mark.parametrize(
    ("address", "url", "shared"),
    [
        ("http://localhost:9000", "http://localhost:9000", True),
        ("http://127.0.0.1", "http://127.0.0.1:8265", True),
        ("ray://head.example:10001", "http://head.example:8265", False),
        ("https://head.example", "https://head.example:8265", False),
        ("http://192.0.2.99:8265", "http://192.0.2.99:8265", False),
        ("http://head.example:8265?files=shared", "http://head.example:8265", True),
        ("http://localhost?files=upload", "http://localhost:8265", False),
        ("http://[::1]:8265", "http://[::1]:8265", True),
        (f"http://{socket.gethostname()}:1", f"http://{socket.gethostname().lower()}:1", True),
    ],
)
def test_an_address_tells_where_and_whether_files_are_shared(
    tmp_path: Path, address: str, url: str, shared: bool
) -> None:
    settings = Settings(home=tmp_path, ray_token_file="/secret/token")
    assert place_of(settings, address) == Place(url=url, shared=shared, token="/secret/token")


@pytest.mark.parametrize(
    "address", ["http://", "http://head:port", "http://me:word@head:8265", "http://head?files=mount"]
)
def test_what_is_no_address_is_refused(tmp_path: Path, address: str) -> None:
    with pytest.raises(Invalid):
        place_of(Settings(home=tmp_path), address)


def test_the_near_cluster_is_the_one_that_rays_variable_names(tmp_path: Path) -> None:
    settings = Settings.from_environment({"RAY_API_SERVER_ADDRESS": "head:8265", "STUDIOLO_HOME": str(tmp_path)})
    assert place_of(settings, "ray").url == "http://head:8265"


def test_without_a_cluster_a_job_that_wants_one_is_refused_and_told_how_to_have_one(
    workspace: Workspace, tmp_path: Path
) -> None:
    with pytest.raises(NotFound, match="no Ray cluster") as caught:
        submit(workspace, job_of(tmp_path, "true", "compute: ray\n"))
    assert "studiolo cluster up" in str(caught.value.hint)


def test_a_job_on_a_cluster_takes_little_of_this_machine(workspace: Workspace, tmp_path: Path) -> None:
    rest = "compute: http://127.0.0.1:1\nresources:\n  properties:\n    cpus: 4096\n    gpus: 8\n"
    job = submit(workspace, job_of(tmp_path, "true", rest))
    assert (job.needs, job.spec["ray"]["cpus"], job.spec["ray"]["gpus"]) == (Needs(cpus=0, memory=2**26), 4096, 8)
    cancel(workspace, job.name)
    assert wait(workspace, job.name, seconds=LONG).status == "Canceled"


@pytest.mark.slow
def test_a_head_that_nobody_has_ever_reached_fails_the_job_and_says_so(workspace: Workspace, tmp_path: Path) -> None:
    job = submit(workspace, job_of(tmp_path, "true", "compute: http://127.0.0.1:1\n"))
    ended = wait(workspace, job.name, seconds=LONG)
    assert ended.status == "Failed"
    assert "has not answered for 30 s" in str(ended.error)

"""Every example of jobs is as Azure ML's package reads it, and runs."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.create import create
from jobs.files import read, read_job
from jobs.records import JobRecord
from jobs.submit import stream, wait
from tests.jobs import verdicts
from tests.jobs.conftest import LONG
from workspace.home import Workspace

EXAMPLES = Path(__file__).parents[2] / "examples" / "jobs"
# What `$schema` says, where that is not the kind itself.
KINDS = {"azureBlob": "datastore", "workspaceConnection": "connection", "amlCompute": "compute", "MLTable": "mltable"}
SCHEMA = re.compile(r"\$schema: https://azuremlschemas.azureedge.net/latest/(\w+).schema.json\n")


def files() -> list[Path]:
    found = [*EXAMPLES.rglob("*.yml"), *EXAMPLES.rglob("MLTable")]
    return sorted(path for path in found if path.name != "conda.yml")


def kind(path: Path) -> str:
    said = SCHEMA.match(path.read_text())
    assert said, f"{path} does not say its $schema"
    word = re.sub(r"^.*(Job|Component)$", lambda end: end[1].lower(), said[1])
    return KINDS.get(word, word)


def named(path: Path) -> str:
    return str(path.relative_to(EXAMPLES))


@pytest.fixture(autouse=True, scope="module")
def kept_environments(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Environments are made once for all examples."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("UV_PYTHON_DOWNLOADS", "never")
        yield


def run(workspace: Workspace, name: str) -> JobRecord:
    """Run an example to its end: `run(workspace, "hello/job.yml")`."""
    job = wait(workspace, create(workspace, read_job(EXAMPLES / name)).name, seconds=LONG)
    assert job.status == "Completed", f"{job.error}\n{said(workspace, job)}"
    return job


def said(workspace: Workspace, job: JobRecord) -> str:
    return b"".join(stream(workspace, job.name)).decode()


def output(workspace: Workspace, job: JobRecord, name: str) -> Path:
    """Return where an output of a job lies."""
    return workspace.assets.path(workspace.assets.get("data", f"{job.name}-{name}"))


def test_there_are_enough_of_them_of_every_kind() -> None:
    assert len({path.relative_to(EXAMPLES).parts[0] for path in files()}) >= 20
    assert {kind(path) for path in files()} >= {
        "job", "component", "data", "mltable", "environment", "model", "datastore", "connection", "compute",
        "registry", "schedule",
    }  # fmt: skip
    assert all((folder / "README.md").is_file() for folder in EXAMPLES.iterdir())


@pytest.mark.parametrize("path", files(), ids=named)
def test_an_example_is_read_as_strictly_as_azure_ml_reads_it(path: Path) -> None:
    found = read(kind(path), path, strict=True)
    assert [str(each) for each in found.findings if each.weight != "note"] == []


@pytest.mark.slow
def test_the_real_package_takes_every_example(request: pytest.FixtureRequest) -> None:
    try:
        with verdicts.azure(request.config.cache.mkdir("azure-ai-ml")) as azure:
            said = {named(path): azure.verdict(kind(path), path) for path in files()}
    except (subprocess.CalledProcessError, FileNotFoundError) as error:
        pytest.skip(f"{verdicts.PACKAGE} cannot be installed here: {error}")
    assert {name: reason for name, reason in said.items() if reason} == {}


def test_hello(workspace: Workspace) -> None:
    assert said(workspace, run(workspace, "hello/job.yml")).startswith("hello, world\nPython 3")


def test_inputs_of_every_type(workspace: Workspace) -> None:
    job = run(workspace, "inputs-of-every-type/job.yml")
    assert '"written"' in output(workspace, job, "report").read_text()


def test_outputs_registered(workspace: Workspace) -> None:
    job = run(workspace, "outputs-registered/job.yml")
    model = workspace.assets.path(workspace.assets.get("model", "line:7"))
    assert (model / "line.json").read_text() == '{"slope": 2.0, "start": 1.0}'
    scored = workspace.assets.path(workspace.assets.get("data", "scored-rows"))
    assert (scored / "rows.csv").read_text().startswith("0.0,1.0\n")
    assert output(workspace, job, "report").read_text() == '{"error": 0.0}'


def test_settings_of_a_command(workspace: Workspace) -> None:
    job = run(workspace, "settings-of-a-command/job.yml")
    assert (job.name, job.attempt) == ("settings_of_a_command", 2)
    assert said(workspace, job).count("hello 0.01 True in examples") == 2


def test_code_without_secrets(workspace: Workspace) -> None:
    job = run(workspace, "code-without-secrets/job.yml")
    seen = output(workspace, job, "seen").read_text().split()
    assert "main.py" in seen
    assert not {"fake.key", "notes"} & set(seen)


def test_distribution_pytorch(workspace: Workspace) -> None:
    job = run(workspace, "distribution-pytorch/job.yml")
    sums = sorted(path.read_text() for path in output(workspace, job, "sums").iterdir())
    assert sums == ["21 local 0 of 2\n", "21 local 1 of 2\n"]


def test_distribution_mpi(workspace: Workspace) -> None:
    job = run(workspace, "distribution-mpi/job.yml")
    ranks = sorted(path.read_text() for path in output(workspace, job, "ranks").iterdir())
    assert ranks == ["0 of 2\n", "1 of 2\n"]


def test_distribution_tensorflow(workspace: Workspace) -> None:
    job = run(workspace, "distribution-tensorflow/job.yml")
    roles = {path.name: path.read_text() for path in output(workspace, job, "roles").iterdir()}
    assert set(roles) == {"ps-0.json", "worker-0.json", "worker-1.json"}
    assert set(roles.values()) == {'{"ps": 1, "worker": 2}'}

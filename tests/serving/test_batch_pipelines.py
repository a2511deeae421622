"""Pipelines behind batch endpoints: components of several steps, job definitions, what whoever invokes gives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from jobs import records, submit
from jobs.assets import components
from jobs.files import read_component
from serving.batch import deploying, deployment_files, endpoint_files, inputs, invoking
from serving.batch.invoking import Invocation
from workspace.documents import parse_yaml
from workspace.errors import Invalid, NotFound
from workspace.home import Workspace

LONG = 90.0
PIPELINE = """
name: line
type: pipeline
inputs:
  rows: {type: uri_folder}
  times: {type: integer, default: 2}
  note: {type: string, optional: true}
outputs:
  counted: {type: uri_folder}
jobs:
  gather:
    type: command
    code: src
    command: sh gather.sh ${{inputs.rows}} ${{inputs.times}} > ${{outputs.all}}/all.txt
    inputs: {rows: "${{parent.inputs.rows}}", times: "${{parent.inputs.times}}"}
    outputs: {all: {type: uri_folder}}
  count:
    type: command
    command: echo $(wc -l < ${{inputs.all}}/all.txt) $[[${{inputs.note}}]] > ${{outputs.n}}/n.txt
    inputs: {all: "${{parent.jobs.gather.outputs.all}}", note: "${{parent.inputs.note}}"}
    outputs: {n: "${{parent.outputs.counted}}"}
"""
Deploy = Callable[..., None]


@pytest.fixture
def deploy(workspace: Workspace, tmp_path: Path) -> Deploy:
    """Deploy a pipeline of two steps behind the endpoint "lines": `deploy("component: line.yml")`."""
    (tmp_path / "src").mkdir()
    (tmp_path / "src/gather.sh").write_text("for i in $(seq $2); do cat $1/*; done\n")
    (tmp_path / "line.yml").write_text(PIPELINE)
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows/a.txt").write_text("1\n2\n3\n")
    deploying.put_endpoint(workspace, endpoint_files.BatchEndpointFile(name="lines"))

    def made(text: str, *, name: str = "two") -> None:
        path = tmp_path / "deployment.yml"
        path.write_text(f"name: {name}\nendpoint_name: lines\ntype: pipeline\n{text}\n")
        list(deploying.deploy(workspace, deployment_files.read(path), default=True))

    return made


def invoke(workspace: Workspace, folder: Path, given: str = "") -> str:
    """Invoke the endpoint and return what came out."""
    named = inputs.read(parse_yaml(f"inputs:\n{given}" if given else "inputs: {}", path=folder / "inputs.yml"))
    job = invoking.invoke(workspace, "lines", Invocation(inputs=named))
    ended = submit.wait(workspace, job.name, seconds=LONG)
    log = b"".join(submit.stream(workspace, job.name)).decode()
    assert ended.status == "Completed", (ended.error, log)
    shown = invoking.shown(workspace, ended)
    place = workspace.assets.path(workspace.assets.get("data", shown["outputs"]["counted"]))
    return (place / "n.txt").read_text()


ROWS = "  rows: {type: uri_folder, path: rows}\n"


def test_a_component_of_two_steps_is_deployed_and_invoked(workspace: Workspace, deploy: Deploy, tmp_path: Path) -> None:
    deploy("component: line.yml")
    (tmp_path / "src/gather.sh").write_text("exit 1\n")  # what was deployed stays as it was
    assert invoke(workspace, tmp_path, ROWS) == "6\n"
    assert invoke(workspace, tmp_path, f"{ROWS}  times: 1\n  note: {{type: string, value: rows}}\n") == "3 rows\n"
    job = invoking.jobs_of(workspace, "lines")[0]
    assert (job.kind, job.experiment) == ("pipeline", "lines")
    steps = {child.name.removeprefix(f"{job.name}_") for child in records.list_jobs(workspace, parent=job.name)}
    assert steps == {"gather", "count"}


def test_a_component_of_the_workspace_is_deployed_by_its_name(
    workspace: Workspace, deploy: Deploy, tmp_path: Path
) -> None:
    components.register(workspace, read_component(tmp_path / "line.yml"))
    deploy("component: azureml:line@latest")
    assert invoke(workspace, tmp_path, ROWS) == "6\n"
    with pytest.raises(NotFound):
        deploy("component: azureml:nobody:1")


def test_a_job_definition_brings_the_values_that_stand_where_nothing_is_given(
    workspace: Workspace, deploy: Deploy, tmp_path: Path
) -> None:
    text = PIPELINE.replace("name: line\n", "")
    text = text.replace("rows: {type: uri_folder}", "rows: {type: uri_folder, path: rows}")
    text = text.replace("times: {type: integer, default: 2}", "times: 5")
    text = text.replace("  note: {type: string, optional: true}\n", "  note: five\n")
    (tmp_path / "job.yml").write_text(text)
    deploy("job_definition: job.yml")
    (tmp_path / "rows/a.txt").write_text("changed\n")
    assert invoke(workspace, tmp_path) == "15 five\n"
    assert invoke(workspace, tmp_path, "  times: 1\n") == "3 five\n"


def test_settings_hold_for_the_steps(workspace: Workspace, deploy: Deploy, tmp_path: Path) -> None:
    deploy("component: line.yml\nsettings: {force_rerun: true}")
    invoke(workspace, tmp_path, ROWS)
    assert invoke(workspace, tmp_path, ROWS) == "6\n"
    job = invoking.jobs_of(workspace, "lines")[0]
    assert b"force_rerun is set" in b"".join(submit.stream(workspace, job.name))


def test_what_is_missing_or_unknown_is_refused_before_anything_runs(
    workspace: Workspace, deploy: Deploy, tmp_path: Path
) -> None:
    deploy("component: line.yml")
    with pytest.raises(Invalid, match="needs the input 'rows'"):
        invoke(workspace, tmp_path)
    with pytest.raises(Invalid, match="has no input 'row'"):
        invoke(workspace, tmp_path, ROWS.replace("rows:", "row:"))
    assert invoking.jobs_of(workspace, "lines") == []

"""Inputs and outputs where files name them: datastores, registered data, jobs before."""

from __future__ import annotations

import json
from pathlib import Path

import fsspec
import pytest

from jobs import assets
from jobs.data import places
from jobs.data.datastores import Remote, locate
from jobs.files.references import DatastorePath, OutputPath, target
from jobs.submit import wait
from tests.jobs.conftest import LONG, Submit
from tests.jobs.file_server import Server
from tests.jobs.file_server import cache as cache
from tests.jobs.file_server import inside as inside
from tests.jobs.file_server import said as said
from tests.jobs.file_server import server as server
from workspace.errors import Invalid, NotFound
from workspace.home import Workspace


def test_a_datastore_of_the_workspace_is_a_folder_of_it(workspace: Workspace, run: Submit) -> None:
    place = workspace.home / "datastores" / "workspaceblobstore" / "rows"
    place.mkdir(parents=True)
    (place / "a.txt").write_text("a\n")
    base = "azureml://datastores/workspaceblobstore/paths"
    rest = f"inputs:\n  rows:\n    type: uri_folder\n    path: {base}/rows\n"
    assert said(workspace, run, "cat ${{inputs.rows}}/a.txt", rest) == "a\n"
    long = "azureml://subscriptions/s/resourcegroups/r/workspaces/w/datastores/workspaceblobstore/paths/rows/a.txt"
    assert places.find(workspace, target(long, workspace.home)).read_text() == "a\n"
    with pytest.raises(Invalid, match="not allowed"):
        places.find(workspace, DatastorePath(datastore="workspaceblobstore", path="../../studiolo.db"))


def test_the_path_that_data_is_shown_with_can_be_read(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a\n")
    shown = assets.create(workspace, "data", {"name": "rows", "path": "rows.csv", "type": "uri_file"}, folder=tmp_path)
    assert places.find(workspace, target(shown["path"], tmp_path)).read_text() == "a\n"


def test_another_datastore_is_what_its_tag_or_a_map_says(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "lake").mkdir()
    (tmp_path / "lake" / "a").write_text("a")
    where = DatastorePath(datastore="lake", path="a")
    with pytest.raises(NotFound, match="no datastore 'lake'"):
        places.find(workspace, where)
    (workspace.home / "data_map.yml").write_text(f"azureml://datastores/lake/paths/: {tmp_path}/lake\n")
    assert places.find(workspace, where).read_text() == "a"
    (workspace.home / "data_map.yml").unlink()
    store = {"name": "lake", "type": "azure_blob", "account_name": "a", "container_name": "c"}
    assets.create(workspace, "datastore", {**store, "tags": {"studiolo.path": str(tmp_path / "lake")}})
    assert places.find(workspace, where).read_text() == "a"
    fsspec.filesystem("memory").pipe("/lake/a", b"m")
    assets.create(workspace, "datastore", {**store, "tags": {"studiolo.path": "memory://lake"}})
    assert places.find(workspace, where).read_text() == "m"


def test_the_key_of_a_datastore_is_in_no_text_of_where_it_is(workspace: Workspace) -> None:
    store = {
        "name": "far", "type": "azure_blob", "account_name": "a", "container_name": "c",
        "credentials": {"account_key": "canary-88aa"},
    }  # fmt: skip
    assets.create(workspace, "datastore", store)
    found = locate(workspace, DatastorePath(datastore="far", path="rows"))
    assert isinstance(found, Remote)
    assert found.options == {"account_name": "a", "account_key": "canary-88aa"}
    assert "canary" not in f"{found} {found!r} {assets.show(workspace, 'datastore', 'far')}"


def test_registered_data_that_is_elsewhere_is_read_and_named(
    inside: Workspace, run: Submit, server: Server, tmp_path: Path
) -> None:
    server.files["/rows.csv"] = b"a\n"
    assets.create(
        inside, "data", {"name": "far", "type": "uri_file", "path": f"{server.url}/rows.csv"}, folder=tmp_path
    )
    rest = "name: reads\ninputs:\n  rows:\n    type: uri_file\n    path: azureml:far@latest\n"
    assert said(inside, run, "cat ${{inputs.rows}}", rest) == "a\n"
    assert any(edge.source == "data:far:1" for edge in inside.lineage.upstream(f"run:{_run(inside, 'reads')}"))


def _run(workspace: Workspace, name: str) -> str:
    from jobs import records

    return str(records.get(workspace, name).run_id)


def test_all_that_a_run_has_left_is_an_output_too(workspace: Workspace, run: Submit) -> None:
    wait(workspace, run("mkdir outputs; echo w > outputs/w", "name: first\n").name, seconds=LONG)
    for name in ("artifacts", "default"):
        found = places.find(workspace, OutputPath(job="first", output=name, path="outputs/w"))
        assert found.read_text() == "w\n"
    model = {"name": "net", "path": f"runs:/{_run(workspace, 'first')}/outputs/w", "type": "custom_model"}
    assert assets.create(workspace, "model", model)["version"] == "1"
    model["path"] = "azureml://jobs/first/outputs/artifacts/paths/outputs/"
    shown = assets.create(workspace, "model", model)
    assert (shown["version"], shown["job_name"]) == ("2", "first")
    assert [edge.source for edge in workspace.lineage.upstream("model:net:2", depth=1)] == [
        f"run:{_run(workspace, 'first')}"
    ]


def test_code_is_an_asset_of_a_job_before(workspace: Workspace, run: Submit, tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "go.py").write_text("print('kept')\n")
    job = run("python go.py", "code: src\n")
    wait(workspace, job.name, seconds=LONG)
    code = str(job.spec["code_asset"]).removeprefix("code:")
    assert said(workspace, run, "python go.py", f"code: azureml:{code}\n") == "kept\n"


def test_a_registered_environment_is_used_by_its_name(workspace: Workspace, run: Submit, tmp_path: Path) -> None:
    (tmp_path / "conda.yml").write_text("dependencies: [python=3.11]\n")
    made = {"name": "mine", "image": "ubuntu:22.04", "conda_file": "conda.yml"}
    assets.create(workspace, "environment", made, folder=tmp_path)
    job = run("true", "environment: azureml:mine@latest\n")
    wait(workspace, job.name, seconds=LONG)
    assert job.spec["environment"]["conda_file"] == {"dependencies": ["python=3.11"]}
    json.dumps(job.spec)


def test_an_output_goes_where_its_file_says(workspace: Workspace, run: Submit, tmp_path: Path) -> None:
    store = {"name": "lake", "type": "azure_blob", "account_name": "a", "container_name": "c"}
    assets.create(workspace, "datastore", {**store, "tags": {"studiolo.path": str(tmp_path / "lake")}})
    paths = {
        "one": "azureml://datastores/${{default_datastore}}/paths/kept/${{name}}/${{output_name}}",
        "two": "azureml://datastores/lake/paths/here",
        "three": "beside/it",
    }
    outputs = "".join(f"  {name}: {{path: '{path}'}}\n" for name, path in paths.items())
    command = " && ".join(f"echo {name} > ${{{{outputs.{name}}}}}/x" for name in paths)
    job = run(command, f"name: sends\noutputs:\n{outputs}")
    assert wait(workspace, job.name, seconds=LONG).status == "Completed"
    blobs = workspace.home / "datastores" / "workspaceblobstore"
    assert (blobs / "kept" / "sends" / "one" / "x").read_text() == "one\n"
    assert (tmp_path / "lake" / "here" / "x").read_text() == "two\n"
    assert (tmp_path / "beside" / "it" / "x").read_text() == "three\n"
    default = DatastorePath(datastore="workspaceblobstore", path="azureml/sends/two/x")
    assert places.find(workspace, default).read_text() == "two\n"


def test_an_output_with_a_name_is_registered_with_its_version(workspace: Workspace, run: Submit) -> None:
    rest = "outputs:\n  o: {name: words, version: '7', type: uri_folder}\n"
    wait(workspace, run("echo a > ${{outputs.o}}/x", rest).name, seconds=LONG)
    shown = assets.show(workspace, "data", "words")
    assert (shown["version"], shown["type"]) == ("7", "uri_folder")

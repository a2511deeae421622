"""The commands of what files name: `studiolo data`, `model`, `environment`, `component`, `compute` …"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.studiolo.command_line import Said, Say, typed

FILES = {
    "rows.csv": "a,b\n1,2\n",
    "data.yml": "name: rows\nversion: 7\ntype: uri_file\npath: rows.csv\ndescription: two columns\n",
    "weights/model.txt": "weights\n",
    "component.yml": """\
name: count
version: 1
type: command
inputs: {rows: {type: uri_file}}
command: wc -l < ${{inputs.rows}}
environment: azureml:bare@latest
""",
    "conda.yml": "dependencies: [{pip: [--no-index]}]\n",
    "store.yml": "name: shared\ntype: azure_blob\naccount_name: mine\ncontainer_name: box\n",
    "registry.yml": "name: shelf\nlocation: here\nreplication_locations: [{location: here}]\n",
    "connection.yml": "name: repo\ntype: git\ntarget: https://example.org\ncredentials: {type: pat, pat: secret-pat}\n",
    "files.yml": "name: far\ntype: custom\ntarget: PLACE\ncredentials: {type: none}\n",
    "import.yml": """\
name: brought
type: uri_folder
path: azureml://datastores/workspacemanageddatastore
source: {type: file_system, connection: azureml:far, path: weights}
""",
    "job.yml": "command: echo ${{inputs.word}}\ninputs: {word: tick}\n",
    "pipeline.yml": """\
type: pipeline
jobs:
  first:
    command: echo 4 > ${{outputs.n}}/n
    environment: {image: ubuntu, conda_file: {dependencies: [{pip: [--no-index]}]}}
    outputs: {n: {type: uri_folder}}
  second:
    command: echo debugging $(cat ${{inputs.n}}/n); exit 5
    environment: {image: ubuntu, conda_file: {dependencies: [{pip: [--no-index]}]}}
    inputs: {n: "${{parent.jobs.first.outputs.n}}"}
""",
}


@pytest.fixture
def say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Say:
    """Run the command line in a folder with these files."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STUDIOLO_HOME", str(tmp_path / "home"))
    return typed


def value(done: Said) -> Any:
    return json.loads(done.stdout)


def test_data_is_registered_by_file_and_by_options(say: Say) -> None:
    shown = value(say("data", "create", "-f", "data.yml", "-o", "json"))
    assert (shown["name"], shown["version"], shown["description"]) == ("rows", "7", "two columns")
    options = ("--path", "rows.csv", "--type", "uri_file", "--tags", "team=blue", "--description", "same")
    assert value(say("data", "create", "-n", "other", "-v", "2", *options, "--query", "[version, tags.team]")) == [
        "2", "blue"
    ]  # fmt: skip
    assert value(say("data", "show", "rows:7", "--query", "type")) == "uri_file"
    assert say("data", "list", "--query", "sort([].name)", "-o", "tsv").stdout == "other\nrows\n"
    assert "a data needs a file" in say("data", "create", code=1).stderr


def test_what_is_said_of_a_version_is_changed_and_it_is_archived(say: Say) -> None:
    say("data", "create", "-f", "data.yml")
    line = ("--set", "description=changed", "--add", "tags", "more=1")
    assert value(say("data", "update", "-n", "rows", "-v", "7", *line, "--query", "[description, tags]")) == [
        "changed", {"more": 1}
    ]  # fmt: skip
    assert value(say("data", "update", "rows", "--remove", "tags.more", "--query", "tags")) == {}
    say("data", "archive", "-n", "rows", "-v", "7")
    assert value(say("data", "list", "--json")) == []
    assert [each["version"] for each in value(say("data", "list", "--archived-only", "--json"))] == ["7"]
    say("data", "restore", "-n", "rows", "-v", "7")
    assert len(value(say("data", "list", "-n", "rows", "--json"))) == 1


def test_a_model_is_registered_listed_and_downloaded(say: Say, tmp_path: Path) -> None:
    say("model", "create", "--name", "mine", "--path", "weights", "--type", "custom_model", "--stage", "new")
    assert value(say("model", "show", "-n", "mine", "--label", "latest", "--query", "stage")) == "new"
    say("model", "download", "-n", "mine", "-v", "1", "-p", "got")
    assert (tmp_path / "got/mine/model.txt").read_text() == "weights\n"
    assert "no model 'other'" in say("model", "show", "-n", "other", code=1).stderr


def test_an_environment_is_kept_made_and_used(say: Say) -> None:
    say("environment", "create", "-n", "bare", "--image", "ubuntu", "--conda-file", "conda.yml", "--tags", "a=b")
    made = value(say("environment", "build", "bare", "-o", "json"))
    assert Path(made["python"]).exists()
    assert made["folder"] in made["python"]
    line = ("--set", "environment=azureml:bare@latest", "command=python -c 'import sys; print(sys.executable)'")
    ran = say("job", "create", "-f", "job.yml", *line, "--stream")
    assert ran.stdout.strip().endswith("/1/python/bin/python")  # a layer of the job's own on it
    assert "name an environment" in say("environment", "build", code=1).stderr


def test_a_component_is_checked_and_registered(say: Say) -> None:
    assert value(say("component", "validate", "-f", "component.yml", "--json"))["result"] == "Succeeded"
    say("component", "validate", "-f", "component.yml", "--set", "inputs.rows.type=uri_fle", code=1)
    say("component", "create", "-f", "component.yml")
    say("component", "create", "-f", "component.yml", "--version", "2", "--set", "description=second")
    assert value(say("component", "show", "count", "--query", "[version, description]")) == ["2", "second"]
    assert value(say("component", "list", "-n", "count", "--query", "[].version")) == ["2", "1"]


def test_computes_datastores_and_registries_are_kept_by_name(say: Say) -> None:
    say("compute", "create", "-n", "cpu", "--type", "amlcompute", "--min-instances", "0", "--max-instances", "3")
    assert value(say("compute", "show", "cpu", "--query", "[provisioning_state, max_instances]")) == ["Succeeded", 3]
    assert value(say("compute", "update", "cpu", "--set", "max_instances=5", "--query", "max_instances")) == 5
    say("compute", "delete", "-n", "cpu", "--yes")
    assert "no compute 'cpu'" in say("compute", "show", "cpu", code=1).stderr
    say("datastore", "create", "-f", "store.yml")
    assert value(say("datastore", "show", "shared", "--query", "account_name")) == "mine"
    say("registry", "create", "-f", "registry.yml")
    assert "shelf" in say("registry", "list").stdout


@pytest.mark.parametrize(
    ("kind", "made"),
    [
        ("data", ("-f", "data.yml")),
        ("model", ("-n", "rows", "-v", "7", "-p", "weights")),
        ("environment", ("-n", "rows", "-v", "7", "--image", "ubuntu", "--conda-file", "conda.yml")),
    ],
)
def test_a_version_is_shared_into_a_registry_under_another_name(say: Say, kind: str, made: tuple[str, ...]) -> None:
    say("registry", "create", "-f", "registry.yml")
    before = value(say(kind, "create", *made, "--tags", "team=blue", "-o", "json"))
    called = ("--share-with-name", "common", "--share-with-version", "4")
    shared = value(say(kind, "share", "-n", "rows", "-v", "7", "--registry-name", "shelf", *called, "-o", "json"))
    assert (shared["name"], shared["version"], shared["tags"]) == ("common", "4", {"team": "blue"})
    assert value(say("az", "ml", kind, "show", "-n", "common", "-v", "4", "--registry-name", "shelf")) == shared
    same = {key: each for key, each in shared.items() if key not in ("name", "version", "id", "creation_context")}
    assert same == {key: before[key] for key in same}


def test_what_cannot_be_shared_is_a_line(say: Say) -> None:
    say("data", "create", "-f", "data.yml")
    assert "no registry is named" in say("data", "share", "rows:7", code=1).stderr
    assert "no registry 'nowhere'" in say("data", "share", "rows:7", "-r", "nowhere", code=1).stderr


def test_data_is_shown_in_a_folder_for_reading(say: Say, tmp_path: Path) -> None:
    say("data", "create", "-f", "data.yml")
    assert say("data", "mount", "--path", "azureml:rows:7", "--mount-point", "shown").stdout == "shown\n"
    (found,) = (tmp_path / "shown").iterdir()
    assert (found.read_text(), found.stat().st_mode & 0o777) == ("a,b\n1,2\n", 0o444)
    again = ("data", "mount", "--path", "azureml:rows:7", "--mount-point", "shown")
    assert "is not empty" in say(*again, code=1).stderr
    assert "for reading alone" in say(*again, "--mode", "rw_mount", code=1).stderr
    say("datastore", "mount", "--path", "azureml:workspaceblobstore", "--mount-point", "store")
    assert (tmp_path / "store").is_dir()


def test_data_is_brought_from_where_a_connection_leads(say: Say, tmp_path: Path) -> None:
    (tmp_path / "files.yml").write_text(FILES["files.yml"].replace("PLACE", str(tmp_path)))
    say("connection", "create", "-f", "files.yml")
    job = value(say("az", "ml", "data", "import", "-f", "import.yml", "--version", "3"))["name"]
    say("job", "stream", job)
    say("data", "mount", "--path", "azureml:brought:3", "--mount-point", "got")
    assert (tmp_path / "got/model.txt").read_text() == "weights\n"


def test_a_connection_as_azure_writes_it_is_kept_and_its_secret_never_shown(say: Say) -> None:
    shown = say("connection", "create", "-f", "connection.yml", "-o", "json")
    listed = say("connection", "list", "-o", "yaml")
    seen = say("connection", "show", "-n", "repo", "-o", "json")
    assert value(seen)["target"] == "https://example.org"
    assert "secret-pat" not in shown.stdout + listed.stdout + seen.stdout
    assert "repo" in say("connection", "list").stdout
    say("connection", "update", "repo", "--set", "target=https://example.net")
    assert value(say("connection", "show", "repo", "--query", "target")) == "https://example.net"
    say("connection", "delete", "-n", "repo", "--yes")
    assert value(say("connection", "list", "--json")) == []


def test_a_step_of_a_pipeline_runs_here_and_its_exit_code_is_ours(say: Say, capfd: pytest.CaptureFixture[str]) -> None:
    say("job", "create", "-f", "pipeline.yml", "--debug", "second", code=5)
    assert "debugging 4" in capfd.readouterr().out  # the step has the terminal itself
    assert "has no step 'secnd'" in say("job", "create", "-f", "pipeline.yml", "--debug", "secnd", code=1).stderr
    assert "is for a step of a pipeline" in say("job", "create", "-f", "job.yml", "--debug", "x", code=1).stderr


def test_what_a_job_waits_for_is_shown_to_whoever_waits(say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDIOLO_JOB_CPUS", "1")
    say("job", "create", "-f", "job.yml", "--set", "command=sleep 3")
    waiting = say("job", "create", "-f", "job.yml", "--stream")
    assert "Queued" in waiting.stderr
    assert waiting.stdout == "tick\n"

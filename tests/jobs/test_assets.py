"""Assets by the verbs of Azure ML's command line: made from files, shown, listed, noted on, archived."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from jobs import assets
from jobs.assets import components, environments
from jobs.files.components import CommandComponent
from jobs.files.pipeline import PipelineComponent
from jobs.files.references import Reference
from workspace.errors import Conflict, Invalid, NotFound
from workspace.home import Workspace


def file(folder: Path, text: str, name: str = "asset.yml") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


DATA = "name: rows\ntype: uri_file\npath: rows.csv\ndescription: Some rows\ntags: {from: here}\n"


def rows(workspace: Workspace, folder: Path, content: str = "a\n1\n", rest: str = "") -> dict[str, Any]:
    (folder / "rows.csv").write_text(content)
    return assets.create(workspace, "data", file(folder, DATA + rest))


def test_data_is_shown_in_azures_words(any_workspace: Workspace, tmp_path: Path) -> None:
    made = rows(any_workspace, tmp_path)
    shown = assets.show(any_workspace, "data", "rows")
    assert shown == made
    assert {key: shown[key] for key in ("name", "version", "type", "description", "tags", "properties")} == {
        "name": "rows", "version": "1", "type": "uri_file", "description": "Some rows", "tags": {"from": "here"},
        "properties": {},
    }  # fmt: skip
    assert shown["id"].startswith("azureml:/subscriptions/")
    assert shown["id"].endswith("/data/rows/versions/1")
    assert shown["path"].startswith("azureml://datastores/workspaceblobstore/paths/LocalUpload/")
    assert shown["creation_context"]["created_at"].startswith("20")
    json.dumps(shown)


def test_the_same_content_is_the_same_version_and_other_content_the_next(workspace: Workspace, tmp_path: Path) -> None:
    assert [rows(workspace, tmp_path, text)["version"] for text in ("a\n", "a\n", "b\n")] == ["1", "1", "2"]


def test_a_version_that_is_taken_is_not_written_over(workspace: Workspace, tmp_path: Path) -> None:
    rows(workspace, tmp_path, "a\n", "version: 7\n")
    with pytest.raises(Conflict, match="rows:7 exists with other content"):
        rows(workspace, tmp_path, "b\n", "version: 7\n")
    assert rows(workspace, tmp_path, "b\n")["version"] == "8"


def test_the_latest_is_what_was_made_last_not_the_highest_number(workspace: Workspace, tmp_path: Path) -> None:
    for version, text in (("9", "a\n"), ("2", "b\n")):
        rows(workspace, tmp_path, text, f"version: {version}\n")
    assert assets.show(workspace, "data", "rows", label="latest")["version"] == "2"
    assert [each["version"] for each in assets.list_all(workspace, "data", "rows")] == ["2", "9"]
    assert [each["version"] for each in assets.list_all(workspace, "data")] == ["2"]


def test_tags_and_description_change_and_the_rest_does_not(any_workspace: Workspace, tmp_path: Path) -> None:
    rows(any_workspace, tmp_path)
    changed = assets.update(
        any_workspace, "data", "rows", (("tags.checked", "yes"), ("description", "Good rows")), removed=("tags.from",)
    )
    assert (changed["tags"], changed["description"], changed["version"]) == ({"checked": "yes"}, "Good rows", "1")
    with pytest.raises(Invalid, match="'path' of a version does not change"):
        assets.update(any_workspace, "data", "rows", (("path", "x"),))
    with pytest.raises(NotFound, match=r"no 'tags\.gone' to remove"):
        assets.update(any_workspace, "data", "rows", (), removed=("tags.gone",))


def test_a_version_or_all_of_them_are_archived_and_restored(workspace: Workspace, tmp_path: Path) -> None:
    for text in ("a\n", "b\n"):
        rows(workspace, tmp_path, text)
    assets.archive(workspace, "data", "rows", version="2")
    assert assets.show(workspace, "data", "rows")["version"] == "1"
    assert [each["version"] for each in assets.list_all(workspace, "data", "rows", archived="only")] == ["2"]
    assets.archive(workspace, "data", "rows")
    assert assets.list_all(workspace, "data") == []
    assert assets.list_all(workspace, "data", archived="only")[0]["archived"] is True
    assets.restore(workspace, "data", "rows")
    assert [each["version"] for each in assets.list_all(workspace, "data", "rows")] == ["2", "1"]


def test_data_elsewhere_is_kept_by_where_it_is(workspace: Workspace, tmp_path: Path) -> None:
    for path in ("https://example.test/rows/", "azureml://datastores/lake/paths/rows"):
        shown = assets.create(workspace, "data", {"name": "far", "path": path, "type": "uri_folder"}, folder=tmp_path)
        assert shown["path"] == path
    assert shown["version"] == "2"


def test_plain_values_are_read_as_a_file_would_be(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "a").write_text("1")
    made = assets.create(
        workspace, "data", {"name": "rows", "path": "rows"}, (("version", "3"), ("tags.a", "b")), folder=tmp_path
    )
    assert (made["version"], made["type"], made["tags"]) == ("3", "uri_folder", {"a": "b"})
    with pytest.raises(Invalid, match="unknown key 'pth'"):
        assets.create(workspace, "data", {"name": "rows", "pth": "rows"}, folder=tmp_path)


COMPONENT = """\
name: train
display_name: Train it
type: command
command: python train.py --rate ${{inputs.rate}} --out ${{outputs.model}}
code: src
environment: {image: mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu20.04, conda_file: conda.yml}
inputs: {rate: {type: number, default: 0.5}}
outputs: {model: {type: custom_model}}
"""


def component(folder: Path, rest: str = "", name: str = "train.yml") -> Path:
    file(folder, "print(1)\n", "src/train.py")
    file(folder, "secret\n", "src/ignored.txt")
    file(folder, "ignored.txt\n", "src/.amlignore")
    file(folder, "dependencies: [python=3.10, pip: [-r requirements.txt]]\n", "conda.yml")
    file(folder, "numpy\n", "requirements.txt")
    return file(folder, COMPONENT + rest, name)


def test_a_component_comes_back_with_its_code_wherever_its_file_has_gone(workspace: Workspace, tmp_path: Path) -> None:
    place = tmp_path / "here"
    assets.create(workspace, "component", component(place))
    place.rename(tmp_path / "gone")
    found = components.get(workspace, "azureml:train:1")
    assert isinstance(found, CommandComponent)
    assert isinstance(found.code, Path)
    assert sorted(path.name for path in found.code.iterdir()) == [".amlignore", "train.py"]
    assert (found.name, found.version, found.display_name) == ("train", "1", "Train it")
    assert found.inputs["rate"].default == 0.5
    environment = found.environment
    assert environment is not None
    assert not isinstance(environment, Reference)
    assert environment.conda is not None
    line = environment.conda["dependencies"][1]["pip"][0]
    assert (environment.folder / line.removeprefix("-r ")).read_text() == "numpy\n"


def test_a_component_is_shown_with_what_it_says(workspace: Workspace, tmp_path: Path) -> None:
    shown = assets.create(workspace, "component", component(tmp_path))
    assert (Path(shown["code"]) / "train.py").read_text() == "print(1)\n"
    assert shown["inputs"] == {"rate": {"type": "number", "default": 0.5}}
    assert (shown["type"], shown["display_name"], shown["version"]) == ("command", "Train it", "1")
    again = assets.create(workspace, "component", component(tmp_path))
    assert again["version"] == "1"
    file(tmp_path, "print(2)\n", "src/train.py")
    assert assets.create(workspace, "component", tmp_path / "train.yml")["version"] == "2"


def test_what_a_component_includes_is_among_its_code(workspace: Workspace, tmp_path: Path) -> None:
    file(tmp_path, "one\n", "shared/one.txt")
    file(tmp_path, "two\n", "packed/two.txt")
    file(tmp_path, "three\n", "three.txt")
    path = component(tmp_path / "there", "additional_includes: [../shared, ../packed.zip, ../three.txt]\n")
    digests = set()
    for _ in range(2):
        assets.create(workspace, "component", path)
        digests.add(workspace.assets.get("component", "train").digest)
    assert len(digests) == 1
    found = components.get(workspace, "train")
    assert isinstance(found, CommandComponent)
    assert isinstance(found.code, Path)
    assert (found.code / "train.py").exists()
    assert (found.code / "shared" / "one.txt").read_text() == "one\n"
    assert (found.code / "three.txt").read_text() == "three\n"
    with zipfile.ZipFile(found.code / "packed.zip") as packed:
        assert packed.read("packed/two.txt") == b"two\n"
    with pytest.raises(Invalid, match="no file or folder at"):
        assets.create(workspace, "component", component(tmp_path / "other", "additional_includes: [../none]\n"))


PIPELINE = """\
name: both
type: pipeline
inputs: {rate: {type: number}}
outputs: {model: {type: custom_model}}
jobs:
  first:
    type: command
    component: ./train.yml
    inputs: {rate: "${{parent.inputs.rate}}"}
  second:
    type: command
    component: azureml:train@latest
    inputs: {rate: "${{parent.inputs.rate}}"}
    outputs: {model: "${{parent.outputs.model}}"}
"""


def test_a_pipeline_component_holds_its_files_and_the_versions_of_what_it_names(
    workspace: Workspace, tmp_path: Path
) -> None:
    place = tmp_path / "here"
    assets.create(workspace, "component", component(place))
    assets.create(workspace, "component", file(place, PIPELINE, "both.yml"))
    file(place, "print(2)\n", "src/train.py")
    assets.create(workspace, "component", place / "train.yml")
    place.rename(tmp_path / "gone")
    found = components.get(workspace, "both@latest")
    assert isinstance(found, PipelineComponent)
    first, second = (found.jobs[key].component for key in ("first", "second"))  # type: ignore[union-attr]
    assert isinstance(first, CommandComponent)
    assert isinstance(first.code, Path)
    assert (first.code / "train.py").read_text() == "print(1)\n"
    assert str(second) == "azureml:train:1"


def test_a_pipeline_that_names_an_unknown_component_is_not_registered(workspace: Workspace, tmp_path: Path) -> None:
    component(tmp_path)
    with pytest.raises(NotFound, match="no component 'train'"):
        assets.create(workspace, "component", file(tmp_path, PIPELINE, "both.yml"))


def test_an_environment_comes_back_with_what_it_is_made_of(workspace: Workspace, tmp_path: Path) -> None:
    place = tmp_path / "here"
    component(place)
    text = "name: mine\nimage: ubuntu:22.04\nconda_file: conda.yml\ntags: {a: b}\n"
    assert assets.create(workspace, "environment", file(place, text))["version"] == "1"
    file(place, "FROM scratch\n", "context/Dockerfile")
    assets.create(workspace, "environment", file(place, "name: built\nbuild: {path: context}\n"))
    place.rename(tmp_path / "gone")
    mine = environments.get(workspace, "azureml:mine@latest")
    assert mine.image == "ubuntu:22.04"
    assert mine.conda is not None
    line = mine.conda["dependencies"][1]["pip"][0]
    assert (mine.folder / line.removeprefix("-r ")).read_text() == "numpy\n"
    built = environments.get(workspace, "built:1")
    assert built.build is not None
    assert (built.build.path / "Dockerfile").read_text() == "FROM scratch\n"
    assert environments.settled(workspace, Reference(name="mine")) == mine
    assert environments.settled(workspace, Reference(name="sklearn-1.5")).name == "sklearn-1.5"


def test_a_model_is_kept_with_its_flavors_and_its_stage(workspace: Workspace, tmp_path: Path) -> None:
    file(tmp_path, "weights", "model/weights.bin")
    text = (
        "name: net\npath: model\ntype: custom_model\nstage: Development\nproperties: {score: '0.9'}\n"
        "flavors: {python_function: {loader: net}}\n"
    )
    made = assets.create(workspace, "model", file(tmp_path, text))
    assert (made["stage"], made["properties"], made["type"]) == ("Development", {"score": "0.9"}, "custom_model")
    assert made["flavors"] == {"python_function": {"loader": "net"}}
    assert assets.update(workspace, "model", "net", (("stage", "Production"),))["stage"] == "Production"
    assert (workspace.assets.path(workspace.assets.get("model", "net")) / "weights.bin").read_text() == "weights"


CANARY = "canary-7c1f9e52d0"
RESOURCES = {
    "datastore": (
        f"type: azure_blob\naccount_name: acct\ncontainer_name: rows\ncredentials: {{account_key: {CANARY}}}\n"
    ),
    "connection": (
        "type: s3\ntarget: s3://bucket\ncredentials: {type: access_key, access_key_id: me, "
        f"secret_access_key: {CANARY}}}\n"
    ),
    "compute": f"type: amlcompute\nsize: big\nmax_instances: 3\nssh_settings: {{admin_password: {CANARY}}}\n",
    "registry": "location: here\nreplication_locations: [{location: here}]\n",
}


@pytest.mark.parametrize("kind", RESOURCES)
def test_a_resource_is_made_shown_changed_and_deleted(any_workspace: Workspace, tmp_path: Path, kind: str) -> None:
    path = file(tmp_path, f"name: mine\ntags: {{a: b}}\n{RESOURCES[kind]}")
    if kind == "connection":
        path.write_text(path.read_text().replace("tags", "metadata"))
    made = assets.create(any_workspace, kind, path)
    assert made == assets.show(any_workspace, kind, "mine")
    assert "mine" in [each["name"] for each in assets.list_all(any_workspace, kind)]
    changed = assets.update(any_workspace, kind, "mine", (("description", "Ours"),))
    assert (changed["description"], changed.get("size")) == ("Ours", made.get("size"))
    assets.delete(any_workspace, kind, "mine")
    with pytest.raises(NotFound, match=f"no {kind} 'mine'"):
        assets.show(any_workspace, kind, "mine")


@pytest.mark.parametrize("kind", ["datastore", "connection", "compute"])
def test_a_secret_is_kept_sealed_and_shown_nowhere(workspace: Workspace, tmp_path: Path, kind: str) -> None:
    made = assets.create(workspace, kind, file(tmp_path, f"name: mine\n{RESOURCES[kind]}"))
    updated = assets.update(workspace, kind, "mine", (("description", "Ours"),))
    for shown in (made, updated, assets.show(workspace, kind, "mine"), assets.list_all(workspace, kind)):
        assert CANARY not in json.dumps(shown)
    resource = workspace.resources.get(kind, "mine")
    assert CANARY in workspace.resources.secrets_of(resource).values()
    assert CANARY not in repr(resource)
    workspace.close()
    for path in workspace.home.rglob("*"):
        assert not path.is_file() or CANARY.encode() not in path.read_bytes(), path


def test_a_connection_that_flows_know_is_one_of_theirs(workspace: Workspace, tmp_path: Path) -> None:
    from flows import connection_store

    text = f"name: llm\ntype: azure_open_ai\nazure_endpoint: https://x.test/\napi_key: {CANARY}\n"
    assets.create(workspace, "connection", file(tmp_path, text))
    used = connection_store.get(workspace, "llm")
    assert (used.type, used.base_url, used.api_key) == ("azure_open_ai", "https://x.test/", CANARY)
    assets.delete(workspace, "connection", "llm")
    with pytest.raises(NotFound):
        connection_store.show(workspace, "llm")


def test_what_the_workspace_has_by_itself_stays(workspace: Workspace) -> None:
    assert assets.show(workspace, "datastore", "workspaceblobstore")["is_default"] is True
    assert assets.show(workspace, "compute", "local")["state"] == "Running"
    for kind, name in (("datastore", "workspaceblobstore"), ("compute", "local")):
        with pytest.raises(Invalid):
            assets.delete(workspace, kind, name)


def test_assets_are_archived_and_not_deleted(workspace: Workspace, tmp_path: Path) -> None:
    rows(workspace, tmp_path)
    with pytest.raises(Invalid, match="cannot be deleted"):
        assets.delete(workspace, "data", "rows")
    with pytest.raises(Invalid, match="has no versions"):
        assets.archive(workspace, "datastore", "workspaceblobstore")
    with pytest.raises(Invalid, match="no kind 'dta'"):
        assets.show(workspace, "dta", "rows")


def test_a_connection_with_a_password_in_its_target_is_refused(workspace: Workspace) -> None:
    said = {"name": "shop", "type": "azure_postgres_db", "target": "postgresql+psycopg://ada:secret@host/shop",
            "credentials": {"type": "username_password", "username": "u", "password": "p"}}  # fmt: skip
    with pytest.raises(Invalid, match="has a password in it") as refused:
        assets.create(workspace, "connection", said)
    assert "secret" not in str(refused.value)
    with pytest.raises(NotFound):
        assets.show(workspace, "connection", "shop")

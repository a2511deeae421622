"""What the client has beside jobs and assets: resources, schedules, endpoints, by the names of azure-ai-ml."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.submit import wait
from studiolo import Client
from workspace.errors import Invalid, NotFound


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    monkeypatch.chdir(tmp_path)
    with Client(tmp_path / "home") as opened:
        yield opened


def test_resources_are_kept_found_and_forgotten(client: Client, tmp_path: Path) -> None:
    (tmp_path / "store.yml").write_text(
        "name: lake\ntype: azure_blob\naccount_name: a\ncontainer_name: c\ncredentials: {account_key: canary-99}\n"
    )
    made = client.datastores.create_or_update(tmp_path / "store.yml")
    assert (made.name, made.account_name) == ("lake", "a")
    assert "canary" not in json.dumps(client.datastores.get("lake").plain)
    assert "lake" in [each.name for each in client.datastores.list()]
    client.compute.begin_create_or_update({"name": "cpu", "type": "amlcompute"}).result()
    assert client.compute.get("cpu").type == "amlcompute"
    assert client.compute.begin_delete("cpu").result().name == "cpu"
    with pytest.raises(NotFound):
        client.compute.get("cpu")
    client.connections.create_or_update({"name": "git", "type": "git", "target": "https://example.test/x.git"})
    assert [each.name for each in client.connections.list()] == ["git"]
    assert client.registries.list() == []
    with pytest.raises(Invalid, match="type"):
        client.compute.create_or_update({"name": "cpu", "type": "abacus"})


def test_a_schedule_is_made_switched_and_fired(client: Client, tmp_path: Path) -> None:
    (tmp_path / "job.yml").write_text("command: echo ${{inputs.whom}}\ninputs:\n  whom: world\n")
    said = {"name": "greet", "trigger": {"type": "cron", "expression": "0 3 * * *"}, "create_job": "job.yml"}
    assert client.schedules.create_or_update(said).is_enabled
    assert not client.schedules.begin_disable("greet").result().is_enabled
    assert [each.name for each in client.schedules.list()] == ["greet"]
    fired = client.schedules.trigger("greet", parameters={"inputs": {"whom": "Ada"}})
    assert wait(client.workspace, fired.job, seconds=60).status == "Completed"
    assert client.schedules.begin_enable("greet").result().is_enabled
    client.schedules.begin_delete("greet")
    with pytest.raises(NotFound):
        client.schedules.get("greet")


def test_an_online_endpoint_and_its_deployments_are_made_of_files(client: Client, tmp_path: Path) -> None:
    (tmp_path / "endpoint.yml").write_text("name: scores\nauth_mode: key\n")
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "score.py").write_text("def init():\n    pass\n\n\ndef run(text):\n    return text\n")
    (tmp_path / "blue.yml").write_text(
        "name: blue\nendpoint_name: scores\ncode_configuration: {code: src, scoring_script: score.py}\n"
    )
    assert client.online_endpoints.begin_create_or_update("endpoint.yml").result().name == "scores"
    blue = client.online_deployments.begin_create_or_update(tmp_path / "blue.yml").result()
    assert (blue.name, blue.endpoint_name, blue.engine) == ("blue", "scores", "script")
    assert [each.name for each in client.online_deployments.list("scores")] == ["blue"]
    keys = client.online_endpoints.get_keys("scores")
    assert keys.primary_key != keys.secondary_key
    shown = client.online_endpoints.create_or_update({"name": "scores", "traffic": {"blue": 100}})
    assert shown.traffic == {"blue": 100}
    assert client.online_deployments.get_logs("blue", "scores") == ""
    client.online_endpoints.create_or_update({"name": "scores", "traffic": {"blue": 0}})
    client.online_deployments.begin_delete("blue", "scores")
    client.online_endpoints.begin_delete("scores")
    assert client.online_endpoints.list() == []


def test_a_batch_endpoint_scores_files_as_a_job(client: Client, tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "score.py").write_text(
        "def init():\n    pass\n\n\ndef run(files):\n    return [open(file).read() for file in files]\n"
    )
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "a.txt").write_text("a")
    client.batch_endpoints.create_or_update({"name": "scorer"})
    said = {
        "name": "blue", "endpoint_name": "scorer",
        "code_configuration": {"code": "src", "scoring_script": "score.py"},
        "model": {"name": "none", "path": "rows", "type": "custom_model"},
    }  # fmt: skip
    assert client.batch_deployments.create_or_update(said).name == "blue"
    assert [each.name for each in client.batch_deployments.list("scorer")] == ["blue"]
    job = client.batch_endpoints.invoke("scorer", input=str(tmp_path / "rows"), deployment_name="blue")
    assert wait(client.workspace, job.name, seconds=90).status == "Completed"
    assert [each.name for each in client.batch_endpoints.list_jobs("scorer")] == [job.name]
    client.batch_deployments.begin_delete("blue", "scorer")
    assert client.batch_endpoints.begin_delete("scorer").result().name == "scorer"

"""`studiolo endpoint` and `studiolo deployment`: from a file to an answer, as somebody who knows `az ml` types it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner, Result

from serving import replicas
from serving.local import local_gateway
from studiolo.arguments import spread
from studiolo.cli import app
from workspace import Workspace
from workspace.errors import Denied, Invalid, NotFound, StudioloError
from workspace.processes import own_identity
from workspace.settings import Settings

Say = Callable[..., Result]
EXAMPLE = Path(__file__).parents[2] / "examples" / "endpoints" / "iris"

ENDPOINT = "name: bot\nauth_mode: key\ntags: {team: blue}\npublic_network_access: disabled\n"
DEPLOYMENT = """\
name: blue
endpoint_name: bot
code_configuration: {code: code, scoring_script: score.py}
environment_variables: {WORD: hello}
instance_type: Standard_DS3_v2
"""
SCRIPT = """\
import os


def init():
    print("init of", os.environ["WORD"])


def run(raw_data):
    if raw_data == '"fail"':
        raise ValueError("no such thing")
    return os.environ["WORD"] + " " + raw_data
"""


@pytest.fixture
def say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Say]:
    """Run commands in a folder with an endpoint, a deployment and its code."""
    home = tmp_path / "home"
    monkeypatch.setenv("STUDIOLO_HOME", str(home))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "score.py").write_text(SCRIPT)
    (tmp_path / "endpoint.yml").write_text(ENDPOINT)
    (tmp_path / "blue.yml").write_text(DEPLOYMENT)
    (tmp_path / "request.json").write_text('{"data": [1]}')

    def run(*arguments: str) -> Result:
        given = spread([*arguments])
        return CliRunner().invoke(app, given, env={"NO_COLOR": "1", "COLUMNS": "200"}, catch_exceptions=False)

    yield run
    replicas.stop_all(home)


def shown(result: Result) -> Any:
    return json.loads(result.stdout)


def test_from_two_files_to_an_answer_without_a_studio(say: Say, tmp_path: Path) -> None:
    slow = SCRIPT.replace("def init():\n", "def init():\n    import time\n\n    time.sleep(1.5)\n")
    (tmp_path / "code" / "score.py").write_text(slow)  # so slow that a person is told what it waits for
    made = say("endpoint", "create", "-f", "endpoint.yml", "--set", "tags.more=1", "description=Hi")
    assert "`public_network_access` means something in the cloud only" in made.stderr
    assert "next: studiolo deployment create" in made.stderr
    deployed = say("deployment", "create", "-f", "blue.yml", "--all-traffic", "--json")
    assert shown(deployed)["engine"] == "script"
    assert "next: studiolo endpoint invoke -n bot -d blue" in deployed.stderr
    endpoint = shown(say("endpoint", "show", "-n", "bot", "--json"))
    assert (endpoint["traffic"], endpoint["tags"]) == ({"blue": 100}, {"team": "blue", "more": "1"})
    answered = say("endpoint", "invoke", "-n", "bot", "--request-file", "request.json")
    assert answered.stdout == '"hello {\\"data\\": [1]}"\n'
    assert "loading" in answered.stderr or "waiting" in answered.stderr
    with pytest.raises(StudioloError, match="424: ValueError: no such thing"):
        say("endpoint", "invoke", "-n", "bot", "--input", '"fail"')
    assert "init of hello" in say("deployment", "logs", "-n", "blue", "-e", "bot").stdout
    assert "[blue] ValueError: no such thing" in say("endpoint", "logs", "-n", "bot").stdout


def test_traffic_is_split_mirrored_and_refused(say: Say) -> None:
    say("endpoint", "create", "-n", "bot")
    for name in ("blue", "green"):
        say("deployment", "create", "-f", "blue.yml", "-n", name)
    split = say("endpoint", "update", "-n", "bot", "--traffic", "blue=90 green=10", "-o", "json")
    assert shown(split)["traffic"] == {"blue": 90, "green": 10}
    with pytest.raises(Invalid, match="adds up to 95"):
        say("endpoint", "update", "-n", "bot", "--traffic", "blue=95")
    with pytest.raises(Invalid, match="gets live traffic"):
        say("endpoint", "update", "-n", "bot", "--mirror-traffic", "green=10")
    both = say("endpoint", "update", "-n", "bot", "--traffic", "blue=100", "--mirror-traffic", "green=10", "--json")
    assert shown(both)["mirror_traffic"] == {"green": 10}
    by_set = say("endpoint", "update", "-n", "bot", "--set", "mirror_traffic.green=20", "description=New", "--json")
    assert (shown(by_set)["mirror_traffic"], shown(by_set)["description"]) == ({"green": 20}, "New")
    with pytest.raises(Invalid, match="--traffic takes name=percent, not 'blue'"):
        say("endpoint", "update", "-n", "bot", "--traffic", "blue")
    with pytest.raises(Invalid, match="still gets traffic"):
        say("deployment", "delete", "-n", "green", "-e", "bot", "--yes")


def test_a_deployment_is_changed_key_by_key(say: Say) -> None:
    say("endpoint", "create", "-n", "bot")
    say("deployment", "create", "-f", "blue.yml", "--set", "instance_count=2", "environment_variables.MORE=1")
    first = shown(say("deployment", "show", "-n", "blue", "-e", "bot", "--json"))
    assert (first["instance_count"], first["environment_variables"]) == (2, ["MORE", "WORD"])
    second = shown(say("deployment", "update", "-n", "blue", "-e", "bot", "--set", "instance_count=3", "--json"))
    assert (second["instance_count"], second["environment_variables"]) == (3, ["MORE", "WORD"])
    assert "hello" not in json.dumps(second)  # a variable may be a secret


def test_what_is_listed_and_how_it_is_printed(say: Say) -> None:
    assert "next: studiolo endpoint create" in say("endpoint", "list").stderr
    say("endpoint", "create", "-n", "bot")
    say("deployment", "create", "-f", "blue.yml", "--all-traffic")
    table = say("endpoint", "list").stdout.splitlines()
    assert table[0].split()[:2] == ["name", "traffic"]
    assert table[1].split()[:2] == ["bot", "blue=100"]
    assert say("endpoint", "list", "-o", "tsv").stdout.split("\t")[:2] == ["bot", "blue=100"]
    assert shown(say("endpoint", "list", "-o", "json"))[0]["scoring_uri"].endswith("/endpoints/bot/score")
    ways = say("deployment", "list", "-e", "bot", "-o", "tsv").stdout.rstrip("\n").split("\t")
    assert ways == ["blue", "bot", "script", "", "idle", "1"]
    assert "instance_count" in say("deployment", "show", "-n", "blue", "-e", "bot", "-o", "table").stdout


def test_what_is_deleted_is_gone_and_its_engine_too(say: Say, tmp_path: Path) -> None:
    say("endpoint", "create", "-n", "bot")
    say("deployment", "create", "-f", "blue.yml")
    with Workspace.open(settings=Settings(home=tmp_path / "home")) as workspace, local_gateway(workspace):
        say("endpoint", "invoke", "-n", "bot", "--input", "1")
        assert len(replicas.living(workspace.home)) == 1
        say("deployment", "delete", "-n", "blue", "-e", "bot", "--yes")
        assert replicas.living(workspace.home) == []
    say("endpoint", "delete", "-n", "bot", "--yes")
    with pytest.raises(NotFound):
        say("endpoint", "show", "-n", "bot")
    with pytest.raises(NotFound):
        say("deployment", "show", "-n", "blue", "-e", "bot")


def test_two_keys_open_the_endpoint_and_each_can_be_replaced(say: Say, tmp_path: Path) -> None:
    say("endpoint", "create", "-n", "bot")
    say("deployment", "create", "-f", "blue.yml")
    first = shown(say("endpoint", "keys", "-n", "bot", "--json"))
    assert shown(say("endpoint", "keys", "-n", "bot", "--json")) == first
    assert say("endpoint", "keys", "-n", "bot", "-o", "tsv").stdout.split() == [*first.values()]
    second = shown(say("endpoint", "keys", "-n", "bot", "--regenerate", "primary", "--json"))
    assert second["secondaryKey"] == first["secondaryKey"]
    assert second["primaryKey"] != first["primaryKey"]
    with Workspace.open(settings=Settings(home=tmp_path / "home")) as workspace:
        assert workspace.tokens.check(second["primaryKey"]).valid
        with pytest.raises(Denied):
            workspace.tokens.check(first["primaryKey"])
        kept = b"".join(path.read_bytes() for path in workspace.home.rglob("*") if path.is_file())
        assert second["primaryKey"].encode() not in kept
        with local_gateway(workspace) as gateway:
            url = gateway.base_url.removesuffix("/v1") + "/endpoints/bot/score"
            for key, status in ((second["primaryKey"], 200), (second["secondaryKey"], 200), (first["primaryKey"], 401)):
                headers = {"authorization": f"Bearer {key}"}
                assert httpx.post(url, json=1, headers=headers, timeout=60).status_code == status
    say("endpoint", "delete", "-n", "bot", "--yes")
    with (
        Workspace.open(settings=Settings(home=tmp_path / "home")) as workspace,
        pytest.raises(Denied),
    ):
        workspace.tokens.check(second["primaryKey"])


def test_a_deployment_is_loaded_at_once_where_the_studio_runs_and_a_failure_is_told(
    say: Say, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    say("endpoint", "create", "-n", "bot")
    with Workspace.open(settings=Settings(home=tmp_path / "home")) as workspace, local_gateway(workspace) as gateway:
        port = int(gateway.base_url.rsplit(":", 1)[1].split("/")[0])
        own = own_identity()
        record = json.dumps({"pid": own.pid, "started_at": own.started_at, "port": port})
        (workspace.home / "services" / "gateway.json").write_text(record)  # so that it is everybody's gateway
        assert shown(say("deployment", "create", "-f", "blue.yml", "--json"))["state"] == "running"
        (tmp_path / "code" / "score.py").write_text("def init():\n    raise OSError('no weights')\n\ndef run(x): ...\n")
        with pytest.raises(StudioloError, match=r"cannot be loaded: .*no weights"):
            say("deployment", "create", "-f", "blue.yml", "-n", "green")
        say("deployment", "create", "-f", "blue.yml", "-n", "green", "--no-wait")
        (workspace.home / "services" / "gateway.json").unlink()


def test_a_model_that_can_run_code_needs_a_word(say: Say, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "MLmodel").write_text(
        "flavors:\n  python_function: {loader_module: mlflow.sklearn}\n  sklearn: {}\n"
    )
    (tmp_path / "m.yml").write_text("name: m\nendpoint_name: bot\nmodel: ./model\n")
    say("endpoint", "create", "-n", "bot")
    with pytest.raises(Denied, match="can run code"):
        say("deployment", "create", "-f", "m.yml")
    assert shown(say("deployment", "create", "-f", "m.yml", "--allow-pickle", "--json"))["engine"] == "mlflow"


def test_a_body_is_given_once(say: Say) -> None:
    say("endpoint", "create", "-n", "bot")
    with pytest.raises(Invalid, match="give the body once"):
        say("endpoint", "invoke", "-n", "bot")
    with pytest.raises(Invalid, match="give the body once"):
        say("endpoint", "invoke", "-n", "bot", "--input", "1", "-r", "request.json")
    with pytest.raises(NotFound, match="has no deployment"):
        say("endpoint", "invoke", "-n", "bot", "--input", "1")


@pytest.mark.model
def test_a_chat_is_asked_by_the_same_command(
    model_workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("STUDIOLO_HOME", str(model_workspace.home))

    def say(*arguments: str) -> Result:
        return CliRunner().invoke(app, [*arguments], env={"NO_COLOR": "1"}, catch_exceptions=False)

    file = tmp_path / "chat.yml"
    file.write_text("name: small\nendpoint_name: talk\nmodel: azureml:smollm2-135m-instruct@latest\n")
    say("endpoint", "create", "-n", "talk")
    assert shown(say("deployment", "create", "-f", str(file), "--json"))["engine"] == "torch"
    asked = json.dumps({"messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 5})
    answer = shown(say("endpoint", "invoke", "-n", "talk", "--input", asked))
    assert answer["object"] == "chat.completion"
    assert answer["usage"]["completion_tokens"] <= 5
    say("endpoint", "delete", "-n", "talk", "--yes")


def test_the_example_answers(say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(EXAMPLE)
    say("endpoint", "create", "-f", "endpoint.yml")
    say("deployment", "create", "-f", "blue.yml", "--all-traffic")
    assert shown(say("endpoint", "invoke", "-n", "iris", "-r", "request.json")) == ["setosa", "virginica"]
    assert "3 kinds of iris" in say("deployment", "logs", "-n", "blue", "-e", "iris").stdout

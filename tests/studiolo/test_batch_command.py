"""`studiolo batch-endpoint` and `studiolo batch-deployment`: from files to predictions, as somebody types it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from studiolo.arguments import spread
from studiolo.cli import app
from workspace import Workspace
from workspace.errors import Conflict, Invalid, NotFound, PartialFailure, StudioloError
from workspace.settings import Settings

Say = Callable[..., Result]

ENDPOINT = "name: letters\nauth_mode: aad_token\ntags: {team: blue}\n"
DEPLOYMENT = """\
name: count
endpoint_name: letters
type: model
model: {path: model, name: counter}
code_configuration: {code: code, scoring_script: score.py}
compute: azureml:batch-cluster
settings:
  mini_batch_size: 1
  retry_settings: {max_retries: 0, timeout: 30}
  environment_variables: {WORD: letters}
"""
SCRIPT = """\
import os
import pathlib

def run(mini_batch):
    texts = [pathlib.Path(path).read_text() for path in mini_batch]
    if "bad" in texts:
        raise ValueError("no such letter")
    return [f"{len(text)} {os.environ['WORD']}" for text in texts]
"""


@pytest.fixture
def say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Say:
    """Run commands in a folder with an endpoint, a deployment, its code and its files."""
    monkeypatch.setenv("STUDIOLO_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    for name in ("code", "model", "files"):
        (tmp_path / name).mkdir()
    (tmp_path / "code" / "score.py").write_text(SCRIPT)
    (tmp_path / "model" / "weights.txt").write_text("1")
    (tmp_path / "endpoint.yml").write_text(ENDPOINT)
    (tmp_path / "deployment.yml").write_text(DEPLOYMENT)
    for name, text in (("a.txt", "one"), ("b.txt", "three")):
        (tmp_path / "files" / name).write_text(text)

    def run(*arguments: str) -> Result:
        given = spread([*arguments])
        return CliRunner().invoke(app, given, env={"NO_COLOR": "1", "COLUMNS": "200"}, catch_exceptions=False)

    return run


def shown(result: Result) -> Any:
    return json.loads(result.stdout)


def deployed(say: Say) -> None:
    say("batch-endpoint", "create", "-f", "endpoint.yml")
    say("batch-deployment", "create", "-f", "deployment.yml", "--set-default")


def test_online_lists_leave_batch_deployments_out(say: Say) -> None:
    deployed(say)
    assert [each["name"] for each in shown(say("batch-deployment", "list", "-e", "letters", "--json"))] == ["count"]
    assert shown(say("endpoint", "list", "--json")) == shown(say("deployment", "list", "--json")) == []


def test_from_two_files_to_predictions(say: Say, tmp_path: Path) -> None:
    made = say("batch-endpoint", "create", "-f", "endpoint.yml", "--set", "tags.more=1", "--json")
    assert shown(made)["tags"] == {"team": "blue", "more": "1"}
    assert "next: studiolo batch-deployment create" in made.stderr
    deployed = say("batch-deployment", "create", "-f", "deployment.yml", "--set-default", "--json")
    assert "`compute` means something in the cloud only" in deployed.stderr
    assert (shown(deployed)["mini_batch_size"], shown(deployed)["environment_variables"]) == (1, ["WORD"])
    invoked = say(
        "batch-endpoint", "invoke", "-n", "letters", "--input", "files", "--input-type", "uri_folder",
        "--job-name", "first", "--output-path", "out", "--stream", "--json",
    )  # fmt: skip
    assert "mini-batch 2/2: 1 files, 1 rows" in invoked.stderr
    assert shown(invoked)["outputs"] == {"score": "data:first-score:1"}
    assert (tmp_path / "out" / "predictions.csv").read_text() == "3 letters\n5 letters\n"
    jobs = shown(say("batch-endpoint", "list-jobs", "-n", "letters", "--json"))
    assert [(job["name"], job["status"], job["counts"]["files_done"]) for job in jobs] == [("first", "Completed", 2)]
    assert "Completed" in say("job", "show", "first").stdout
    lineage = say("lineage", "data:first-score:1").stdout
    assert "model counter:1" in lineage
    assert "data letters-files:1" in lineage


def test_some_failed_files_are_told_by_the_exit_code(say: Say, tmp_path: Path) -> None:
    deployed(say)
    (tmp_path / "files" / "c.txt").write_text("bad")
    with pytest.raises(PartialFailure, match="1 of 3 files have failed"):
        say("batch-endpoint", "invoke", "-n", "letters", "--input", "files", "--stream")
    say("batch-deployment", "update", "-n", "count", "-e", "letters", "--set", "settings.error_threshold=0")
    with pytest.raises(StudioloError, match="job 'second' failed") as caught:
        say("batch-endpoint", "invoke", "-n", "letters", "--input", "files", "--job-name", "second", "--stream")
    assert caught.value.hint == "studiolo batch-endpoint invoke -n letters --resume second"
    with pytest.raises(StudioloError, match="failed"):
        say("batch-endpoint", "invoke", "-n", "letters", "--resume", "second", "--stream")


def test_an_asset_is_an_input_and_numbers_are_given_for_one_job(say: Say, tmp_path: Path) -> None:
    deployed(say)
    with Workspace.open(settings=Settings(home=tmp_path / "home")) as workspace:
        workspace.assets.put("data", "texts", tmp_path / "files")
    given = ("--input", "azureml:texts:1", "--mini-batch-size", "2", "--instance-count", "2")
    invoked = say("batch-endpoint", "invoke", "-n", "letters", *given, "--stream", "--json")
    assert shown(invoked)["counts"]["mini_batches"] == 1
    by_set = say("batch-endpoint", "invoke", "-n", "letters", "--set", "inputs.x.path=azureml:texts:1", "-s", "--json")
    assert shown(by_set)["status"] == "Completed"
    with pytest.raises(Invalid, match="no file or folder at 'nothing'"):
        say("batch-endpoint", "invoke", "-n", "letters", "--input", "nothing")
    with pytest.raises(Invalid, match="takes one input, not 0"):
        say("batch-endpoint", "invoke", "-n", "letters")
    (tmp_path / "files" / "MLTable").write_text("type: mltable\npaths: [{pattern: ./a*.txt}]\n")
    of_table = ("--input", "files", "--input-type", "mltable", "--stream", "--json")
    assert shown(say("batch-endpoint", "invoke", "-n", "letters", *of_table))["counts"]["files"] == 1


def test_endpoints_and_deployments_are_listed_changed_and_deleted(say: Say) -> None:
    deployed(say)
    say("batch-deployment", "create", "-f", "deployment.yml", "-n", "other")
    assert {each["name"] for each in shown(say("batch-deployment", "list", "-e", "letters", "--json"))} == {
        "count", "other",
    }  # fmt: skip
    changed = say("batch-endpoint", "update", "-n", "letters", "--set", "defaults.deployment_name=other", "--json")
    assert shown(changed)["defaults"] == {"deployment_name": "other"}
    with pytest.raises(NotFound, match="no deployment 'nobody'"):
        say("batch-endpoint", "update", "-n", "letters", "--set-default", "nobody")
    assert [each["name"] for each in shown(say("batch-endpoint", "list", "--json"))] == ["letters"]
    assert shown(say("endpoint", "list", "--json")) == []
    say("endpoint", "create", "-n", "online")
    with pytest.raises(Conflict, match="of kind 'online'"):
        say("batch-endpoint", "show", "-n", "online")
    say("batch-deployment", "delete", "-n", "other", "-e", "letters", "--yes")
    assert shown(say("batch-endpoint", "show", "-n", "letters", "--json"))["deployments"] == ["count"]
    say("batch-endpoint", "delete", "-n", "letters", "--yes")
    assert shown(say("batch-endpoint", "list", "--json")) == []

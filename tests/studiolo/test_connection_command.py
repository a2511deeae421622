"""`studiolo connection`, and the promise that nothing it or a flow writes ever holds a secret."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

Say = Callable[..., subprocess.CompletedProcess[str]]

YAML = "name: mine\ntype: custom\nconfigs:\n  url: http://here\nsecrets:\n  token: {token}\n"
FLOW = """\
inputs:
  way: {type: string, default: print}
outputs:
  said: {type: string, reference: "${say.output}"}
environment_variables:
  TOKEN: ${mine.token}
nodes:
- name: say
  type: python
  source: {type: code, path: say.py}
  inputs: {way: "${inputs.way}", connection: mine}
- name: count
  type: python
  aggregation: true
  source: {type: code, path: count.py}
  inputs: {said: "${say.output}", connection: mine}
"""
SAY = '''\
import logging
import os
import sys

from promptflow.core import tool
from promptflow.connections import CustomConnection


@tool
def say(way: str, connection: CustomConnection) -> str:
    """Do with the secret what a careless tool does."""
    assert connection.token == os.environ["TOKEN"]
    print("token", connection.token, file=sys.stderr)
    logging.getLogger("careless").warning("token %s", connection.token)
    print(connection, connection.secrets)
    if way == "fail":
        raise ValueError(f"wrong token {connection.token}")
    if way == "return":
        return f"Bearer {connection.token}"
    return repr(connection)
'''
COUNT = '''\
from promptflow.core import log_metric, tool
from promptflow.connections import CustomConnection


@tool
def count(said: list, connection: CustomConnection) -> str:
    """Sum up, carelessly."""
    log_metric("said", len(said))
    return connection.token
'''


@pytest.fixture
def say(tmp_path: Path) -> Say:
    """Run the command line in a process of its own, as a person with a new configuration."""

    def run(*arguments: str, code: int = 0, given: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {
            "STUDIOLO_HOME": str(tmp_path / "home"),
            "XDG_CONFIG_HOME": str(tmp_path / "configuration"),
            "NO_COLOR": "1",
            **variables,
        }
        done = subprocess.run(
            [sys.executable, "-m", "studiolo.cli", *arguments],
            env=environment, input=given, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path,
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        return done

    return run


def test_a_connection_is_made_shown_changed_and_deleted(say: Say, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(YAML.format(token="<user-input>"))
    made = json.loads(say("connection", "create", "--file", str(file), "--json", given="one\n").stdout)
    assert (made["secrets"], made["configs"]) == ({"token": "******"}, {"url": "http://here"})
    say("connection", "create", "--file", str(file), "--name", "two", "--set", "secrets.token=two")
    assert "configs.url" in say("connection", "update", "-n", "two", "--set", "url=http://there").stdout
    listed = json.loads(say("connection", "list", "--json").stdout)
    assert [(each["name"], each["configs"]["url"]) for each in listed] == [
        ("mine", "http://here"), ("two", "http://there"),
    ]  # fmt: skip
    assert "custom" in say("connection", "list").stdout
    say("connection", "delete", "--name", "two", "--yes")
    gone = say("connection", "show", "-n", "two", code=1)
    assert gone.stderr == "error: no connection 'two'\nhint: known: mine\n"


def test_a_secret_nobody_gives_is_an_error_with_a_hint(say: Say, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(YAML.format(token="'******'"))
    done = say("connection", "create", "-f", str(file), code=1)
    assert done.stderr == "error: connection 'mine' has no value for token\nhint: give it: --set token=…\n"
    broken = say("connection", "create", "-f", str(file), "--set", "a secret without its name", code=1)
    assert "a secret" not in broken.stderr


def test_a_secret_is_in_nothing_that_is_ever_written(say: Say, tmp_path: Path) -> None:
    canary, later = f"canary-{os.urandom(12).hex()}", f"canary-{os.urandom(12).hex()}"
    (tmp_path / "outside").mkdir()
    file = tmp_path / "outside" / "mine.yaml"
    file.write_text(YAML.format(token=canary))
    flow = tmp_path / "my-flow"
    flow.mkdir()
    for name, text in (("flow.dag.yaml", FLOW), ("say.py", SAY), ("count.py", COUNT)):
        (flow / name).write_text(text)
    (tmp_path / "rows.jsonl").write_text("".join(f'{{"way": "{way}"}}\n' for way in ("print", "return", "fail")))

    said = [say("connection", "create", "--file", str(file))]
    said += [say("connection", part, *more) for part, *more in _looks()]
    said.append(say("flow", "test", "--flow", str(flow)))
    said.append(say("flow", "test", "--flow", str(flow), "--inputs", "way=return"))
    said.append(say("flow", "test", "--flow", str(flow), "--inputs", "way=fail", code=1))
    said.append(say("connection", "update", "-n", "mine", "--set", "token=<user-input>", given=f"{later}\n"))
    mapping = "way=${data.way}"
    run = ("flow", "run", "--flow", str(flow), "--data", str(tmp_path / "rows.jsonl"), "--column-mapping", mapping)
    said.append(say(*run, "--name", "careless", code=3))
    said += [say("flow", "show", "careless", "--json"), say("runs", "show", "careless", "--json")]
    said.append(say("sql", "SELECT * FROM runs"))
    said.append(say("connection", "delete", "-n", "mine"))

    heard = "".join(done.stdout + done.stderr for done in said)
    assert "******" in heard
    written = [path for path in tmp_path.rglob("*") if path.is_file() and "outside" not in path.parts]
    assert [path for path in written if path.suffix == ".db"]
    assert [path for path in written if path.name == "lines.jsonl"]
    for secret in (canary, later):
        for form in (secret, quote(secret), secret.encode().hex()):
            assert form not in heard
            assert [path for path in written if form.encode() in path.read_bytes()] == []


def test_the_key_is_its_owners_and_lies_elsewhere(say: Say, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(YAML.format(token="a-secret"))
    say("connection", "create", "--file", "mine.yaml")
    key = tmp_path / "configuration" / "studiolo" / "key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert [
        path for path in tmp_path.rglob("*") if path.is_file() and key.read_bytes().strip() in path.read_bytes()
    ] == [key]


def _looks() -> list[tuple[str, ...]]:
    return [("list",), ("list", "--json"), ("show", "-n", "mine"), ("show", "-n", "mine", "--json")]

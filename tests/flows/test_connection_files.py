"""Connections in files: YAML, .env, and the JSON of a served flow. Messages name the place, never the secret."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flows import connection_files
from flows.connections import KINDS, Connection, resolve_environment, variable_of
from workspace.errors import Invalid, NotFound, StudioloError

CANARY = "sk-canary-0123456789"


def written(folder: Path, text: str, name: str = "connection.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


AZURE = f"""\
$schema: https://azuremlschemas.azureedge.net/promptflow/latest/AzureOpenAIConnection.schema.json
name: mine
type: azure_open_ai
api_key: "{CANARY}"
api_base: https://a
"""


def test_a_connection_is_read_from_yaml(tmp_path: Path) -> None:
    connection = connection_files.read(written(tmp_path, AZURE))
    assert (connection.name, connection.type, connection.api_key) == ("mine", "azure_open_ai", CANARY)
    assert connection.configs["api_version"] == "2024-02-01"


def test_the_command_line_says_some_of_it_otherwise(tmp_path: Path) -> None:
    changes = {"api_base": "https://b", "api_version": "v"}
    connection = connection_files.read(written(tmp_path, AZURE), name="other", changes=changes)
    assert (connection.name, connection.base_url, connection.configs["api_version"]) == ("other", "https://b", "v")


def test_fields_of_a_custom_connection_are_set_one_by_one(tmp_path: Path) -> None:
    path = written(tmp_path, "name: x\ntype: custom\nconfigs: {a: '1'}\nsecrets: {k: <user-input>}\n")
    changes = {"configs.b": "2", "secrets.t": CANARY, "k": "K", "a": "3"}
    connection = connection_files.read(path, changes=changes)
    assert connection.configs == {"a": "3", "b": "2"}
    assert connection.secrets == {"k": "K", "t": CANARY}
    with pytest.raises(Invalid) as refused:
        connection_files.read(path, changes={"c": "3"})
    assert refused.value.hint == "for a new one: configs.c=… or secrets.c=…"
    with pytest.raises(Invalid, match=r"no field 'config\.a'"):
        connection_files.read(path, changes={"config.a": "3"})


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("name: a\ntype: opn_ai\n", "yaml:2:1: no connection type 'opn_ai'", "did you mean 'open_ai'?"),
        ("name: a\napi_key: K\n", "yaml:1:1: a connection needs a type", "add `type`, one of "),
        ("type: open_ai\napi_key: K\n", "yaml:1:1: a connection needs a name", "add `name`, or give --name"),
        (
            "name: a\ntype: serp\napi_kye: K\n",
            "yaml:3:1: unknown field 'api_kye'",
            "did you mean 'api_key'?",
        ),
        (
            "name: a\ntype: serp\napi_key: 0123\n",
            "yaml:3:1: api_key must be text",
            "put the value in quotes",
        ),
        ("name: a\ntype: serp\n", "yaml:1:1: a connection of type serp needs 'api_key'", "needed: api_key"),
        ("name: a\ntype: custom\nsecrets:\n  k: 5\n", "yaml:4:3: k must be text", "put the value in quotes"),
        ("- a\n", "yaml:1:1: a connection is a mapping", ""),
    ],
)
def test_a_mistake_is_told_with_its_place_and_a_hint(tmp_path: Path, text: str, message: str, hint: str) -> None:
    with pytest.raises(Invalid) as refused:
        connection_files.read(written(tmp_path, text))
    assert message in str(refused.value)
    assert (refused.value.hint or "").startswith(hint)


@pytest.mark.parametrize(
    "text",
    [
        f"name: a\ntype: serp\napi_key: {CANARY}\napi_key: {CANARY}\n",
        f"name: a\ntype: serp\napi_key: [{CANARY}]\n",
        f"name: a\ntype: serp\napi_key: {{k: {CANARY}}}\n",
        f"name: a\ntype: serp\nkey: {CANARY}\n",
        f"name: a\ntype: serp\napi_key: '{CANARY}\n",
        f"name: a\ntype: custom\nsecrets: {CANARY}\n",
        f"name: a\ntype: custom\napi_key: {CANARY}\n",
        f"name: a\n  type: serp\napi_key: {CANARY}\n",
    ],
)
def test_a_mistake_never_shows_the_secret(tmp_path: Path, text: str) -> None:
    with pytest.raises(StudioloError) as refused:
        connection_files.read(written(tmp_path, text))
    assert CANARY not in f"{refused.value} {refused.value.hint}"


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    for name in ("none.yaml", "none.env"):
        with pytest.raises(NotFound, match="no file"):
            connection_files.read(tmp_path / name, name="x")


def test_an_env_file_is_a_custom_connection_of_secrets(tmp_path: Path) -> None:
    text = f"# a comment\nKEY={CANARY}\nexport TWO='two words'\nTHREE=${{TWO}}!\nEMPTY=\nALONE\n"
    path = written(tmp_path, text, "my.env")
    connection = connection_files.read(path, name="mine")
    assert (connection.type, connection.configs) == ("custom", {})
    assert connection.secrets == {"KEY": CANARY, "TWO": "two words", "THREE": "two words!", "EMPTY": "", "ALONE": ""}
    with pytest.raises(Invalid) as nameless:
        connection_files.read(path)
    assert nameless.value.hint == "give --name"
    with pytest.raises(Invalid, match="nothing is set here"):
        connection_files.read(written(tmp_path, "# nothing\n", ".env"), name="x")


def test_a_served_flow_is_given_its_connections_as_json(tmp_path: Path) -> None:
    given = {
        "chat": {
            "type": "AzureOpenAIConnection",
            "module": "promptflow.connections",
            "value": {"api_key": CANARY, "api_base": "https://a", "said_elsewhere": "x", "resource_id": None},
        },
        "shop": {"type": "CustomConnection", "value": {"url": "u", "token": CANARY}, "secret_keys": ["token"]},
        "open": {"type": "CustomConnection", "value": {"url": "u"}},
    }
    path = written(tmp_path, json.dumps(given), "connections.json")
    found = connection_files.from_environment({"PROMPTFLOW_CONNECTIONS": str(path)})
    assert found["chat"].configs == {
        "api_base": "https://a", "api_type": "azure", "api_version": "2024-02-01", "auth_mode": "key",
    }  # fmt: skip
    assert (found["shop"].configs, found["shop"].secrets) == ({"url": "u"}, {"token": CANARY})
    assert found["open"].configs == {"url": "u"}
    assert connection_files.from_environment({}) == {}


@pytest.mark.parametrize(
    "text",
    [
        f"not json {CANARY}",
        f'["{CANARY}"]',
        f'{{"x": "{CANARY}"}}',
        f'{{"x": {{"type": "OpenAI", "value": "{CANARY}"}}}}',
        f'{{"x": {{"value": {{"api_key": "{CANARY}"}}}}}}',
    ],
)
def test_json_that_is_wrong_is_refused_unseen(tmp_path: Path, text: str) -> None:
    with pytest.raises(Invalid) as refused:
        connection_files.read_json(written(tmp_path, text, "connections.json"))
    assert CANARY not in f"{refused.value} {refused.value.hint}"
    assert refused.value.__cause__ is None


def test_a_provider_that_is_elsewhere_is_refused() -> None:
    with pytest.raises(Invalid, match="Azure ML workspace"):
        connection_files.from_environment({"PF_CONNECTION_PROVIDER": "azureml://subscriptions/1"})
    with pytest.raises(NotFound, match="cannot read the connections"):
        connection_files.from_environment({"PROMPTFLOW_CONNECTIONS": "/nowhere/at/all.json"})


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_for_others_holds_variables_instead_of_secrets(tmp_path: Path, kind: str) -> None:
    required = dict.fromkeys(KINDS[kind].required, 'https://"a": #b')
    connection = Connection(
        name="my conn",
        type=kind,
        configs=required or ({"url": "line\nline"} if kind == "custom" else {}),
        secrets={"api_key": CANARY},
    )
    text = connection_files.template(connection)
    assert CANARY not in text
    again = connection_files.read(written(tmp_path, text))
    ready = resolve_environment(again, {variable_of("my conn", "api_key"): CANARY})
    assert ready.secrets == connection.secrets
    assert dict(connection.configs).items() <= dict(ready.configs).items()


def test_a_class_of_ones_own_is_written_as_it_is_read(tmp_path: Path) -> None:
    strong = {"custom_type": "Shop", "module": "shop", "package": "p", "package_version": "1"}
    given = json.dumps({"name": "x", "type": "custom", "configs": {"u": "v"}, "secrets": {"k": CANARY}, **strong})
    connection = connection_files.read(written(tmp_path, given))
    again = connection_files.read(written(tmp_path, connection_files.template(connection)))
    assert again.configs == connection.configs
    assert again.custom_type == "Shop"

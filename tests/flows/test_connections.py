"""Connections: every type with its fields and defaults, and no text that shows a secret."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest

from flows.connections import (
    KINDS,
    Connection,
    check_provider,
    fill,
    find,
    kind_of,
    make,
    override,
    resolve_environment,
)
from workspace.errors import Invalid, NotFound, StudioloError

CANARY = "sk-canary-0123456789"
NEEDED = {
    "azure_open_ai": {"api_base": "https://a"},
    "serverless": {"api_base": "https://a"},
    "cognitive_search": {"api_base": "https://a"},
    "azure_ai_services": {"endpoint": "https://a"},
    "azure_content_safety": {"endpoint": "https://a"},
    "form_recognizer": {"endpoint": "https://a"},
    "qdrant": {"api_base": "https://a"},
    "weaviate": {"api_base": "https://a"},
}
DEFAULTS = {
    "azure_open_ai": {"api_type": "azure", "api_version": "2024-02-01", "auth_mode": "key"},
    "cognitive_search": {"api_version": "2023-11-01", "auth_mode": "key"},
    "azure_ai_services": {"auth_mode": "key"},
    "azure_content_safety": {"api_version": "2023-10-01", "api_type": "Content Safety"},
    "form_recognizer": {"api_version": "2023-07-31", "api_type": "Form Recognizer"},
    "bing": {"url": "https://api.bing.microsoft.com/v7.0/search"},
}
STRONG = [kind for kind in KINDS if kind != "custom"]


def made(kind: str, **fields: Any) -> Connection:
    return make("mine", kind_of(kind), fields)


@pytest.mark.parametrize("kind", STRONG)
def test_each_type_has_its_fields_and_defaults(kind: str) -> None:
    connection = made(kind, api_key=CANARY, **NEEDED.get(kind, {}))
    assert connection.type == kind
    assert connection.configs == {**NEEDED.get(kind, {}), **DEFAULTS.get(kind, {})}
    assert connection.secrets == {"api_key": CANARY}


@pytest.mark.parametrize("kind", STRONG)
def test_each_type_says_what_it_needs(kind: str) -> None:
    needed = {**NEEDED.get(kind, {}), "api_key": CANARY}
    for name in needed:
        with pytest.raises(Invalid, match=f"of type {kind} needs '{name}'"):
            made(kind, **{key: value for key, value in needed.items() if key != name})


@pytest.mark.parametrize("kind", ["azure_open_ai", "cognitive_search", "azure_ai_services"])
def test_a_token_of_entra_stands_in_for_the_key(kind: str) -> None:
    assert made(kind, auth_mode="MEID_TOKEN", **NEEDED[kind]).secrets == {}
    with pytest.raises(Invalid, match="no auth_mode 'meidtoken'") as refused:
        made(kind, auth_mode="meidtoken", **NEEDED[kind])
    assert refused.value.hint == "did you mean 'meid_token'?"


@pytest.mark.parametrize("kind", KINDS.values())
def test_a_type_may_be_spelled_as_prompt_flow_does_anywhere(kind: Any) -> None:
    for text in (kind.type, kind.type.upper(), kind.title, f"{kind.title}Connection"):
        assert kind_of(text) is kind
        assert Connection(name="x", type=text).type == kind.type


def test_an_unknown_type_gets_a_suggestion() -> None:
    with pytest.raises(Invalid) as refused:
        kind_of("open_ia")
    assert refused.value.hint == "did you mean 'open_ai'?"


def test_a_misspelled_field_gets_a_suggestion() -> None:
    with pytest.raises(Invalid, match="unknown field 'organisation'") as refused:
        made("open_ai", api_key=CANARY, organisation="o")
    assert refused.value.hint == "did you mean 'organization'?"


def test_fields_that_mean_nothing_to_a_type_are_left_out() -> None:
    made_ = made("open_ai", api_key=CANARY, api_type="open_ai", module="promptflow.connections", base_url="_")
    assert made_.configs == {}


@pytest.mark.parametrize("fields", [{"api_key": 12345678}, {"api_key": CANARY, "base_url": 5}, {"api_key": ["x"]}])
def test_a_value_that_is_no_text_is_refused_unseen(fields: dict[str, Any]) -> None:
    with pytest.raises(Invalid, match="must be text") as refused:
        made("open_ai", **fields)
    assert "12345678" not in str(refused.value)


def test_a_custom_connection_holds_what_it_likes() -> None:
    connection = made("custom", configs={"url": "u"}, secrets={"token": CANARY, "empty": None})
    assert (connection.configs, connection.secrets) == ({"url": "u"}, {"token": CANARY, "empty": ""})
    with pytest.raises(Invalid, match="needs secrets"):
        made("custom", configs={"url": "u"})
    with pytest.raises(Invalid, match="unknown field 'api_key'") as refused:
        made("custom", secrets={"a": "b"}, api_key=CANARY)
    assert refused.value.hint == "a custom connection has its fields under configs and secrets"


def test_a_class_of_ones_own_is_named_in_configs() -> None:
    strong = {"custom_type": "Shop", "module": "shop.connections", "package": "shop", "package_version": "1.2"}
    connection = made("custom", configs={"url": "u"}, secrets={"token": CANARY}, **strong)
    assert connection.configs == {"url": "u", **{f"promptflow.connection.{key}": each for key, each in strong.items()}}
    shown = (connection.custom_type, connection.module, connection.package, connection.package_version)
    assert shown == tuple(strong.values())
    with pytest.raises(Invalid, match="needs the module"):
        made("custom", secrets={"token": CANARY}, custom_type="Shop")


@pytest.mark.parametrize(
    ("kind", "fields", "url", "provider"),
    [
        ("open_ai", {}, "https://api.openai.com/v1", "OpenAI"),
        ("open_ai", {"base_url": "http://here/v1"}, "http://here/v1", "OpenAI"),
        ("serverless", {"api_base": "http://here"}, "http://here/v1", "OpenAI"),
        ("serverless", {"api_base": "http://here/v1/"}, "http://here/v1", "OpenAI"),
        ("azure_open_ai", {"api_base": "http://here"}, "http://here", "AzureOpenAI"),
        ("form_recognizer", {"endpoint": "http://here"}, "http://here", ""),
    ],
)
def test_a_connection_says_where_it_leads(kind: str, fields: dict[str, str], url: str, provider: str) -> None:
    connection = made(kind, api_key=CANARY, **fields)
    assert (connection.base_url, connection.api_key, connection.provider) == (url, CANARY, provider)


def test_a_connection_goes_over_a_pipe_and_comes_back() -> None:
    connection = made("azure_open_ai", api_key=CANARY, api_base="https://a")
    assert Connection(**json.loads(json.dumps(asdict(connection)))) == connection


def test_no_text_shows_the_secret() -> None:
    connection = made("open_ai", api_key=CANARY, organization="o")
    assert CANARY not in f"{connection} {connection!r} {[connection]}"
    assert "organization" in repr(connection)


@pytest.mark.parametrize("name", ["", "x" * 256, "two\nlines"])
def test_a_name_that_cannot_be_shown_is_refused(name: str) -> None:
    with pytest.raises(Invalid, match="cannot be the name"):
        Connection(name=name)


def test_nodes_without_a_connection_use_the_local_gateway() -> None:
    gateway = Connection.to_gateway("http://127.0.0.1:1/v1", "token")
    assert (gateway.base_url, gateway.api_key) == ("http://127.0.0.1:1/v1", "token")
    for name in ("", "default", "studiolo"):
        assert find({"default": gateway}, name) is gateway
    with pytest.raises(NotFound) as missing:
        find({"mine": gateway, "default": gateway}, "mien")
    assert missing.value.hint == "did you mean 'mine'?"


@pytest.mark.parametrize("provider", ["azureml", "azureml://subscriptions/1/resourceGroups/2", "http://x", "Local"])
def test_connections_are_asked_for_here_only(provider: str) -> None:
    check_provider("")
    check_provider("local")
    with pytest.raises(Invalid) as refused:
        check_provider(provider)
    assert refused.value.hint
    if provider.startswith("azureml://"):
        with pytest.raises(Invalid, match="Azure ML workspace"):
            find({}, provider)


def test_a_field_may_be_a_variable_of_the_environment() -> None:
    connection = made("open_ai", api_key=" ${env:KEY} ", base_url="${env:URL}", organization="as ${env:IS}")
    ready = resolve_environment(connection, {"KEY": CANARY, "URL": "http://here"})
    assert (ready.api_key, ready.base_url, ready.configs["organization"]) == (CANARY, "http://here", "as ${env:IS}")
    with pytest.raises(Invalid, match="takes api_key from the environment variable 'KEY', which is not set") as unset:
        resolve_environment(connection, {"URL": "http://here"})
    assert unset.value.hint == "export KEY=…"


def test_the_environment_overrides_the_fields_of_a_served_connection() -> None:
    connection = Connection(name="my conn", type="custom", configs={"url": "u"}, secrets={"token": "old"})
    ready = override(connection, {"MY_CONN_TOKEN": CANARY, "MY_CONN_OTHER": "not a field of it", "TOKEN": "x"})
    assert (ready.configs, ready.secrets) == ({"url": "u"}, {"token": CANARY})


def test_variables_of_a_flow_take_fields_of_connections() -> None:
    connection = Connection(name="mine", configs={"base_url": "http://here"}, secrets={"api_key": CANARY})
    given = {"A": "${mine.api_key}", "B": "${mine.base_url}", "C": "${other.api_key}", "D": "${mine.none}", "E": "e"}
    filled = fill(given, {"mine": connection})
    assert filled == {**given, "A": CANARY, "B": "http://here"}


def test_errors_are_ours() -> None:
    with pytest.raises(StudioloError):
        made("custom", configs="text", secrets={"a": "b"})

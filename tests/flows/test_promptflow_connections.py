"""Connections as flow code sees them."""

from __future__ import annotations

import pytest

from flows.connections import Connection
from flows.promptflow.connections import (
    AzureOpenAIConnection,
    CustomConnection,
    CustomStrongTypeConnection,
    as_promptflow,
    from_promptflow,
)
from flows.promptflow.types import Secret


class Shop(CustomStrongTypeConnection):
    """A class of a flow."""

    api_key: Secret
    api_base: str = "https://shop.example"


def test_a_kept_connection_becomes_the_class_its_type_names() -> None:
    kept = Connection(name="azure", type="azure_open_ai", configs={"api_base": "https://a"}, secrets={"api_key": "k"})
    made = as_promptflow(kept)
    assert type(made).__name__ == "AzureOpenAIConnection"
    assert (made.name, made.api_base, made.api_key, made.api_version) == ("azure", "https://a", "k", "2024-02-01")


def test_a_connection_is_a_mapping_of_what_it_holds() -> None:
    made = AzureOpenAIConnection(api_base="https://a", api_key="k")
    assert {**made} == {
        "api_base": "https://a", "api_type": "azure", "api_version": "2024-02-01", "auth_mode": "key",
        "resource_id": None, "api_key": "k",
    }  # fmt: skip


def test_configs_and_secrets_of_a_custom_connection_are_attributes() -> None:
    made = CustomConnection(secrets={"token": "t"}, configs={"url": "u"})
    assert (made.token, made.url, made["token"], made.is_secret("token")) == ("t", "u", "t", True)
    made.url = "v"
    assert made.configs == {"url": "v"}
    with pytest.raises(AttributeError, match="missing"):
        _ = made.missing
    with pytest.raises(KeyError, match="missing"):
        _ = made["missing"]


def test_a_connection_does_not_show_its_secrets() -> None:
    assert "canary" not in repr(CustomConnection(secrets={"token": "canary"}))


def test_a_class_of_ones_own_has_defaults_and_secrets() -> None:
    made = Shop(secrets={"api_key": "k"})
    assert (made.api_key, made.api_base) == ("k", "https://shop.example")
    assert Shop(secrets={"api_key": "k"}, configs={"api_base": "b"}).api_base == "b"


def test_a_parameter_that_asks_for_a_class_of_ones_own_gets_it() -> None:
    kept = Connection(name="shop", type="custom", configs={"api_base": "b"}, secrets={"api_key": "k"})
    made = as_promptflow(kept, Shop)
    assert isinstance(made, Shop)
    assert (made.api_base, made.api_key) == ("b", "k")


def test_what_flow_code_made_is_kept_and_comes_back() -> None:
    kept = from_promptflow(Shop(secrets={"api_key": "k"}, name="shop"))
    assert (kept.type, kept.configs["promptflow.connection.custom_type"]) == ("custom", "Shop")
    assert type(as_promptflow(kept)).__name__ == "Shop"

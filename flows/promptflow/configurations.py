"""Which model to ask, and where, as flow code writes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from workspace.errors import Invalid


@dataclass
class ModelConfiguration:
    """Which model to ask, and where."""


@dataclass
class OpenAIModelConfiguration(ModelConfiguration):
    """A model of OpenAI: `connection` names one, or `api_key` and `base_url` say where it is."""

    model: str
    base_url: str | None = None
    api_key: str | None = None
    organization: str | None = None
    connection: str | None = None

    def __post_init__(self) -> None:
        _refuse_both(self.connection, self.api_key, self.base_url, self.organization)

    @classmethod
    def from_connection(cls, connection: Any, model: str) -> OpenAIModelConfiguration:
        """Return the configuration that a connection means."""
        return cls(model, connection.base_url, connection.api_key, connection.organization)


@dataclass
class AzureOpenAIModelConfiguration(ModelConfiguration):
    """A deployment of Azure OpenAI."""

    azure_deployment: str
    azure_endpoint: str | None = None
    api_version: str | None = None
    api_key: str | None = None
    connection: str | None = None

    def __post_init__(self) -> None:
        _refuse_both(self.connection, self.api_key, self.azure_endpoint, self.api_version)

    @classmethod
    def from_connection(cls, connection: Any, azure_deployment: str) -> AzureOpenAIModelConfiguration:
        """Return the configuration that a connection means."""
        return cls(azure_deployment, connection.api_base, connection.api_version, connection.api_key)


def _refuse_both(connection: str | None, *others: Any) -> None:
    if connection and any(others):
        raise Invalid("a model configuration names a connection or says where the model is, not both")

"""Connections as flow code knows them: one class a type, with its configs and secrets as attributes."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import Any

from flows.connections import KINDS, STRONG, Connection
from flows.promptflow.names import install
from workspace.errors import MissingExtra


class _Connection:
    """What all of them share: a connection is also a mapping of its configs and secrets, as `Client(**connection)`."""

    TYPE = ""

    def __init__(self, configs: Mapping[str, Any], secrets: Mapping[str, Any], **others: Any) -> None:
        self.name: str | None = others.get("name")
        self.type = self.TYPE
        self.module = others.get("module") or "promptflow.connections"
        self.configs = dict(configs)
        self.secrets = dict(secrets)
        self.expiry_time = others.get("expiry_time")
        self.created_date = others.get("created_date")
        self.last_modified_date = others.get("last_modified_date")

    @property
    def class_name(self) -> str:
        """Return the name of its class."""
        return type(self).__name__

    def keys(self) -> list[str]:
        """Return the names of its configs and secrets."""
        return [*self.configs, *self.secrets]

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __getitem__(self, key: str) -> Any:
        for values in (self.configs, self.secrets):
            if key in values:
                return values[key]
        raise KeyError(f"connection {self.name!r} has no {key!r}")

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_") and name not in ("configs", "secrets"):
            for values in (self.configs, self.secrets):
                if name in values:
                    return values[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self.name!r}, configs={self.configs!r}, secrets=******)"


class OpenAIConnection(_Connection):
    """OpenAI, or a server that speaks like it."""

    TYPE = "OpenAI"

    def __init__(
        self, api_key: str, organization: str | None = None, base_url: str | None = None, **others: Any
    ) -> None:
        super().__init__({"organization": organization, "base_url": base_url}, {"api_key": api_key}, **others)


class AzureOpenAIConnection(_Connection):
    """Azure OpenAI."""

    TYPE = "AzureOpenAI"

    def __init__(
        self, api_base: str, api_key: str | None = None, api_type: str = "azure", api_version: str = "2024-02-01",
        auth_mode: str = "key", resource_id: str | None = None, **others: Any,
    ) -> None:  # fmt: skip
        configs = {"api_base": api_base, "api_type": api_type, "api_version": api_version, "auth_mode": auth_mode,
                   "resource_id": resource_id}  # fmt: skip
        super().__init__(configs, {"api_key": api_key}, **others)

    def get_token(self) -> str:
        """Return a token of Microsoft Entra, where the connection is used without a key."""
        try:
            identity = importlib.import_module("azure.identity")
        except ImportError:
            raise MissingExtra("auth_mode meid_token", hint="pip install azure-identity") from None
        token: str = identity.DefaultAzureCredential().get_token("https://cognitiveservices.azure.com/.default").token
        return token


class ServerlessConnection(_Connection):
    """A model served on its own endpoint."""

    TYPE = "Serverless"

    def __init__(self, api_key: str, api_base: str, **others: Any) -> None:
        super().__init__({"api_base": api_base}, {"api_key": api_key}, **others)


class CognitiveSearchConnection(_Connection):
    """Azure AI Search."""

    TYPE = "CognitiveSearch"

    def __init__(
        self, api_base: str, api_key: str | None = None, api_version: str = "2023-11-01", auth_mode: str = "key",
        **others: Any,
    ) -> None:  # fmt: skip
        configs = {"api_base": api_base, "api_version": api_version, "auth_mode": auth_mode}
        super().__init__(configs, {"api_key": api_key}, **others)


class AzureAIServicesConnection(_Connection):
    """Azure AI services."""

    TYPE = "AzureAIServices"

    def __init__(self, endpoint: str, api_key: str | None = None, auth_mode: str = "key", **others: Any) -> None:
        super().__init__({"endpoint": endpoint, "auth_mode": auth_mode}, {"api_key": api_key}, **others)


class AzureContentSafetyConnection(_Connection):
    """Azure Content Safety."""

    TYPE = "AzureContentSafety"

    def __init__(
        self, api_key: str, endpoint: str, api_version: str = "2023-10-01", api_type: str = "Content Safety",
        **others: Any,
    ) -> None:  # fmt: skip
        configs = {"endpoint": endpoint, "api_version": api_version, "api_type": api_type}
        super().__init__(configs, {"api_key": api_key}, **others)


class FormRecognizerConnection(AzureContentSafetyConnection):
    """Azure Document Intelligence."""

    TYPE = "FormRecognizer"

    def __init__(
        self, api_key: str, endpoint: str, api_version: str = "2023-07-31", api_type: str = "Form Recognizer",
        **others: Any,
    ) -> None:  # fmt: skip
        super().__init__(api_key, endpoint, api_version, api_type, **others)


class SerpConnection(_Connection):
    """SerpAPI, a search engine."""

    TYPE = "Serp"

    def __init__(self, api_key: str, **others: Any) -> None:
        super().__init__({}, {"api_key": api_key}, **others)


class BingConnection(_Connection):
    """Bing search."""

    TYPE = "Bing"

    def __init__(self, api_key: str, url: str = "https://api.bing.microsoft.com/v7.0/search", **others: Any) -> None:
        super().__init__({"url": url}, {"api_key": api_key}, **others)


class QdrantConnection(_Connection):
    """Qdrant, a store of vectors."""

    TYPE = "Qdrant"

    def __init__(self, api_key: str, api_base: str, **others: Any) -> None:
        super().__init__({"api_base": api_base}, {"api_key": api_key}, **others)


class WeaviateConnection(QdrantConnection):
    """Weaviate, a store of vectors."""

    TYPE = "Weaviate"


class CustomConnection(_Connection):
    """Any configs and secrets: `connection.endpoint` is a config or a secret of that name."""

    TYPE = "Custom"

    def __init__(self, secrets: Mapping[str, Any], configs: Mapping[str, Any] | None = None, **others: Any) -> None:
        super().__init__(configs or {}, secrets, **others)

    def is_secret(self, name: str) -> bool:
        """Whether a name is one of its secrets."""
        return name in self.secrets

    def __setattr__(self, name: str, value: Any) -> None:
        for values in (self.__dict__.get("secrets", {}), self.__dict__.get("configs", {})):
            if name in values:
                values[name] = value
                return
        super().__setattr__(name, value)


class CustomStrongTypeConnection(CustomConnection):
    """A class of one's own: annotated fields are its configs, those annotated `Secret` its secrets."""

    def __init__(self, secrets: Mapping[str, Any], configs: Mapping[str, Any] | None = None, **others: Any) -> None:
        defaults = {
            name: vars(type(self))[name]
            for name in vars(type(self)).get("__annotations__", {})
            if name in vars(type(self)) and name not in secrets
        }
        super().__init__(secrets, {**defaults, **(configs or {})}, **({"module": type(self).__module__} | others))

    def __getattribute__(self, name: str) -> Any:
        # A class attribute is a default: what the connection holds goes before it.
        if not name.startswith("_"):
            held = object.__getattribute__(self, "__dict__")
            for values in (held.get("configs", {}), held.get("secrets", {})):
                if name in values:
                    return values[name]
        return super().__getattribute__(name)


CLASSES: Mapping[str, type[_Connection]] = {
    kind.TYPE: kind
    for kind in (
        OpenAIConnection, AzureOpenAIConnection, ServerlessConnection, CognitiveSearchConnection,
        AzureAIServicesConnection, AzureContentSafetyConnection, FormRecognizerConnection, SerpConnection,
        BingConnection, QdrantConnection, WeaviateConnection, CustomConnection,
    )
}  # fmt: skip


def as_promptflow(connection: Connection, wanted: Any = None) -> Any:
    """Return a connection as the instance that flow code expects: promptflow's own class where that is installed.

    `wanted` is the class a parameter asks for, where it is a custom strong type.
    """
    install()
    kind = KINDS[connection.type].title
    configs = {key: value for key, value in connection.configs.items() if not key.startswith(STRONG)}
    secrets = dict(connection.secrets)
    if kind == "Custom":
        made = _strong_type(connection, wanted) or _module().CustomConnection
        return made(secrets=secrets, configs=configs, name=connection.name)
    fields = {key: value for key, value in (configs | secrets).items() if value not in (None, "")}
    module = _module()
    name = f"{kind}Connection"
    made = getattr(module, name, None) or getattr(importlib.import_module("promptflow.core._connection"), name)
    try:
        return made(name=connection.name, **fields)
    except TypeError:  # a secret that was never given: the server decides whether it needs one
        return made(name=connection.name, **({"api_key": ""} | fields))


def from_promptflow(connection: Any) -> Connection:
    """Return what flow code made, as the connection that is kept."""
    configs = dict(connection.configs)
    kind = connection.TYPE
    if _is_strong(type(connection)):
        kind = "Custom"
        configs |= {f"{STRONG}custom_type": type(connection).__name__, f"{STRONG}module": type(connection).__module__}
    return Connection(
        name=connection.name,
        type=kind,
        configs={key: value for key, value in configs.items() if value is not None},
        secrets={key: value for key, value in connection.secrets.items() if value is not None},
    )


def _module() -> Any:
    return importlib.import_module("promptflow.connections")


def _is_strong(kind: type) -> bool:
    names = [each.__name__ for each in kind.__mro__]
    return "CustomStrongTypeConnection" in names


def _strong_type(connection: Connection, wanted: Any) -> Any:
    if isinstance(wanted, type) and _is_strong(wanted):
        return wanted
    module, name = connection.module, connection.custom_type
    if not module or not name:
        return None
    try:
        return getattr(importlib.import_module(str(module)), str(name), None)
    except ImportError:  # its package is elsewhere: attributes work on a plain custom connection as well
        return None

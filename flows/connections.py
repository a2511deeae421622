"""Connections: where a service is reached, and with which key."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from workspace.errors import Invalid, Location, NotFound, did_you_mean

DEFAULT = "default"
LOCAL_NAMES = ("", "studiolo", DEFAULT)
STRONG = "promptflow.connection."  # configs that name the class of a custom connection
MASK = "******"
UNCHANGED, ASKED = "<no-change>", "<user-input>"  # stand for the old secret, and for one the person is asked for
KEY, ENTRA = AUTH_MODES = ("key", "meid_token")
LONGEST_NAME = 255
_VARIABLE = re.compile(r"^\$\{env:(.+)\}$")
_FIELD = re.compile(r"^\$\{([^.{}]+)\.([^{}]+)\}$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A type of connection: its `required` configs, and the `optional` ones with what they are when left out.

    `title` is how flow code's class is called, without "Connection". All but custom ones have the secret `api_key`;
    those `with_auth_mode` can do without it.
    """

    type: str
    title: str
    required: tuple[str, ...] = ()
    optional: Mapping[str, str | None] = field(default_factory=dict)
    module: str = "promptflow.connections"

    @property
    def with_auth_mode(self) -> bool:
        """Whether the service can be asked with a token of Microsoft Entra instead of a key."""
        return "auth_mode" in self.optional

    @property
    def configs(self) -> tuple[str, ...]:
        """Return the names of all its configs."""
        return (*self.required, *self.optional)


CUSTOM = "custom"
_VECTORS = "promptflow_vectordb.connections"
KINDS: Mapping[str, Kind] = {
    kind.type: kind
    for kind in (
        Kind(type="open_ai", title="OpenAI", optional={"organization": None, "base_url": None}),
        Kind(type="azure_open_ai", title="AzureOpenAI", required=("api_base",),
             optional={"api_type": "azure", "api_version": "2024-02-01", "auth_mode": KEY, "resource_id": None}),
        Kind(type="serverless", title="Serverless", required=("api_base",)),
        Kind(type="cognitive_search", title="CognitiveSearch", required=("api_base",),
             optional={"api_version": "2023-11-01", "auth_mode": KEY}),
        Kind(type="azure_ai_services", title="AzureAIServices", required=("endpoint",), optional={"auth_mode": KEY}),
        Kind(type="azure_content_safety", title="AzureContentSafety", required=("endpoint",),
             optional={"api_version": "2023-10-01", "api_type": "Content Safety"}),
        Kind(type="form_recognizer", title="FormRecognizer", required=("endpoint",),
             optional={"api_version": "2023-07-31", "api_type": "Form Recognizer"}),
        Kind(type="serp", title="Serp"),
        Kind(type="bing", title="Bing", optional={"url": "https://api.bing.microsoft.com/v7.0/search"}),
        Kind(type="qdrant", title="Qdrant", required=("api_base",), module=_VECTORS),
        Kind(type="weaviate", title="Weaviate", required=("api_base",), module=_VECTORS),
        Kind(type=CUSTOM, title="Custom"),
    )
}  # fmt: skip
# What an older file or another tool may say besides; it means nothing here.
_SAID_ELSEWHERE = frozenset(
    {"$schema", "name", "type", "module", "description", "tags", "created_date", "last_modified_date", "expiry_time",
     "is_shared", "class_name"}
    | {name for kind in KINDS.values() for name in kind.configs}
)  # fmt: skip
_STRONG_FIELDS = ("custom_type", "module", "package", "package_version")

At = Callable[..., Location | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """How to reach a service. The secrets are left out of every text that shows the connection.

    `asdict(connection)` is plain data and `Connection(**data)` the connection again. Any usual spelling of the type
    will do. A custom connection whose class is of its own names that in configs, under `promptflow.connection.`.
    """

    name: str
    type: str = "open_ai"
    configs: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "type", kind_of(self.type).type)
        if not self.name or len(self.name) > LONGEST_NAME or not self.name.isprintable():
            raise Invalid(f"{self.name[:40]!r} cannot be the name of a connection", hint="use letters, digits, _ and -")

    @classmethod
    def to_gateway(cls, base_url: str, token: str, *, model: str = "") -> Connection:
        """Return the connection to our own gateway, the one that nodes without a connection use.

        `model` is asked by nodes that name none.
        """
        configs = {"base_url": base_url} | ({"model": model} if model else {})
        return cls(name=DEFAULT, configs=configs, secrets={"api_key": token})

    @property
    def base_url(self) -> str:
        """Return where the service is. For `open_ai` and `serverless` that is where OpenAI's routes begin."""
        if self.type == "open_ai":
            return self.configs.get("base_url") or "https://api.openai.com/v1"
        found = next((self.configs[key] for key in ("api_base", "endpoint", "url") if self.configs.get(key)), "")
        if self.type == "serverless":
            return found.rstrip("/").removesuffix("/v1") + "/v1"
        return found

    @property
    def api_key(self) -> str:
        """Return the key, "" where there is none."""
        return self.secrets.get("api_key", "")

    @property
    def provider(self) -> str:
        """Return whose API an llm node speaks with this connection: OpenAI or AzureOpenAI; "" where none."""
        return {"open_ai": "OpenAI", "serverless": "OpenAI", "azure_open_ai": "AzureOpenAI"}.get(self.type, "")

    @property
    def custom_type(self) -> str:
        """Return the name of the class that a custom connection is in flow code, "" where it has none of its own."""
        return self.configs.get(f"{STRONG}custom_type", "")

    @property
    def module(self) -> str:
        """Return the module in which flow code finds the class."""
        return self.configs.get(f"{STRONG}module") or KINDS[self.type].module

    @property
    def package(self) -> str:
        """Return the package that has the module."""
        return self.configs.get(f"{STRONG}package", "")

    @property
    def package_version(self) -> str:
        """Return the package's version."""
        return self.configs.get(f"{STRONG}package_version", "")


def find(connections: Mapping[str, Connection], name: str) -> Connection:
    """Return the connection a node names; no name, `studiolo` and `default` are the local gateway."""
    check_provider(name if name.startswith("azureml:") else "")
    wanted = DEFAULT if name in LOCAL_NAMES else name
    if wanted not in connections:
        hint = did_you_mean(wanted, connections) or "leave `connection` out to use the local gateway"
        raise NotFound(f"no connection {wanted!r}", hint=hint)
    return connections[wanted]


def check_provider(provider: str) -> None:
    """Raise Invalid unless connections are asked for where we keep them: "" and "local" are here."""
    if provider in ("", "local"):
        return
    if provider.startswith("azureml:"):
        raise Invalid(
            "connections of an Azure ML workspace cannot be read from here",
            hint="make them here: studiolo connection create --file connection.yaml",
        )
    raise Invalid(f"no provider of connections {provider[:80]!r}", hint="known: local")


def kind_of(name: Any, *, at: Location | None = None) -> Kind:
    """Return the kind that a type names: azure_open_ai, AzureOpenAI and AzureOpenAIConnection are one."""
    plain = str(name).replace("_", "").casefold().removesuffix("connection")
    found = next((kind for kind in KINDS.values() if kind.title.casefold() == plain), None)
    if found is None:
        raise Invalid(f"no connection type {str(name)[:80]!r}", hint=did_you_mean(str(name), KINDS), at=at)
    return found


def make(name: str, kind: Kind, fields: Mapping[str, Any], *, at: At = lambda *_: None) -> Connection:
    """Return the connection that a file's fields say, checked and with defaults; `at` is where each was written.

    Secrets may be missing values: null, asterisks, `<no-change>`, `<user-input>`. Messages name fields, never values.
    """
    if kind.type == CUSTOM:
        return _custom(name, fields, at)
    for key in fields:
        if key not in kind.configs and key != "api_key" and key not in _SAID_ELSEWHERE:
            hint = did_you_mean(str(key), ("api_key", *kind.configs))
            raise Invalid(f"unknown field {str(key)[:80]!r} of type {kind.type}", hint=hint, at=at(key))
    configs = {key: value for key in kind.configs if (value := fields.get(key, kind.optional.get(key))) is not None}
    for key, value in configs.items():
        _check_text(key, value, at(key))
    if kind.type == "open_ai" and configs.get("base_url") in ("", "_"):
        del configs["base_url"]
    if kind.with_auth_mode:
        configs["auth_mode"] = _auth_mode(configs["auth_mode"], at("auth_mode"))
    keyless = configs.get("auth_mode") == ENTRA
    needed = (*kind.required, *(() if keyless else ("api_key",)))
    for key in needed:
        if key not in fields or (key in kind.required and not fields[key]):
            raise Invalid(
                f"a connection of type {kind.type} needs {key!r}", hint=f"needed: {', '.join(needed)}", at=at(key)
            )
    secrets = {} if keyless else {"api_key": _secret("api_key", fields["api_key"], at("api_key"))}
    return Connection(name=name, type=kind.type, configs=configs, secrets=secrets)


def is_missing(secret: str) -> bool:
    """Whether a secret stands for one that is to be kept or asked for: empty, asterisks, <no-change>, <user-input>."""
    return not secret.strip("*") or secret in (UNCHANGED, ASKED)


def resolve_environment(connection: Connection, environment: Mapping[str, str] | None = None) -> Connection:
    """Return the connection with each field `${env:NAME}` filled in; Invalid where a variable is not set."""
    variables = os.environ if environment is None else environment

    def fill(values: Mapping[str, str]) -> dict[str, str]:
        return {key: _filled(connection.name, key, value, variables) for key, value in values.items()}

    return replace(connection, configs=fill(connection.configs), secrets=fill(connection.secrets))


def override(connection: Connection, environment: Mapping[str, str] | None = None) -> Connection:
    """Return the connection with the fields that the environment sets, as a served flow's are.

    Field `api_key` of connection `my conn` is the variable `MY_CONN_API_KEY`; only fields it has are looked for.
    """
    variables = os.environ if environment is None else environment

    def set_by(values: Mapping[str, str]) -> dict[str, str]:
        return {key: variables.get(variable_of(connection.name, key), value) for key, value in values.items()}

    return replace(connection, configs=set_by(connection.configs), secrets=set_by(connection.secrets))


def variable_of(name: str, key: str) -> str:
    """Return the environment variable that overrides a field.

    >>> variable_of("my conn", "api_key")
    'MY_CONN_API_KEY'
    """
    return f"{name}_{key}".replace(" ", "_").upper()


def fill(variables: Mapping[str, str], connections: Mapping[str, Connection]) -> dict[str, str]:
    """Return a flow's environment variables with `${connection.field}` filled in where there is such a connection."""
    filled = dict(variables)
    for key, value in variables.items():
        match = _FIELD.match(value)
        if match and match[1] in connections:
            connection = connections[match[1]]
            filled[key] = {**connection.configs, **connection.secrets}.get(match[2], value)
    return filled


def _custom(name: str, fields: Mapping[str, Any], at: At) -> Connection:
    known = ("configs", "secrets", *_STRONG_FIELDS)
    for key in fields:
        if key not in known and (key not in _SAID_ELSEWHERE or key in ("api_key", "api_base")):
            hint = did_you_mean(str(key), known) if key not in ("api_key", "api_base") else None
            hint = hint or "a custom connection has its fields under configs and secrets"
            raise Invalid(f"unknown field {str(key)[:80]!r} of type custom", hint=hint, at=at(key))
    configs, secrets = (fields.get(part) or {} for part in ("configs", "secrets"))
    for part, values in (("configs", configs), ("secrets", secrets)):
        if not isinstance(values, Mapping):
            raise Invalid(f"{part} must be names with values", at=at(part))
    for key, value in configs.items():
        _check_text(key, value, at("configs", key))
    if not secrets:
        hint = "put at least one name with its value under secrets"
        raise Invalid("a custom connection needs secrets", hint=hint, at=at("secrets"))
    strong = {f"{STRONG}{key}": str(fields[key]) for key in _STRONG_FIELDS if fields.get(key) is not None}
    if f"{STRONG}custom_type" not in strong:
        strong = {}  # `module` alone is what every connection that was shown says
    elif f"{STRONG}module" not in strong:
        raise Invalid("custom_type needs the module it is in", hint="add `module`", at=at("custom_type"))
    return Connection(
        name=name,
        type=CUSTOM,
        configs={**configs, **strong},
        secrets={str(key): _secret(str(key), value, at("secrets", key)) for key, value in secrets.items()},
    )


def _check_text(key: str, value: Any, at: Location | None) -> None:
    if not isinstance(value, str):
        raise Invalid(f"{key} must be text", hint="put the value in quotes", at=at)


def _secret(key: str, value: Any, at: Location | None) -> str:
    if value is None:
        return ""
    _check_text(key, value, at)
    return str(value)


def _auth_mode(mode: str, at: Location | None) -> str:
    if mode.lower() not in AUTH_MODES:
        raise Invalid(f"no auth_mode {mode[:80]!r}", hint=did_you_mean(mode, AUTH_MODES), at=at)
    return mode.lower()


def _filled(name: str, key: str, value: str, variables: Mapping[str, str]) -> str:
    match = _VARIABLE.match(value.strip())
    if not match:
        return value
    if match[1] not in variables:
        raise Invalid(
            f"connection {name!r} takes {key} from the environment variable {match[1]!r}, which is not set",
            hint=f"export {match[1]}=…",
        )
    return variables[match[1]]

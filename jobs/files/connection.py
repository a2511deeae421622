"""Connections: services elsewhere, and what is shown at their doors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from jobs.files.reading import Finding, Origin, Place
from jobs.files.record import Mark, Record
from jobs.files.shapes import Anything, ByKind, Definitions, Either, Named, Schema

PLAIN = (
    "git", "container_registry", "python_feed", "s3", "snowflake", "azure_sql_db", "azure_synapse_analytics",
    "azure_my_sql_db", "azure_postgres_db", "custom", "azure_data_lake_gen2",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Pat:
    """A personal access token."""

    type: Annotated[Literal["pat"], Mark.CAMEL]
    pat: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sas:
    """A shared access signature."""

    type: Annotated[Literal["sas"], Mark.CAMEL]
    sas_token: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class UsernamePassword:
    """A name and a password."""

    type: Annotated[Literal["username_password"], Mark.CAMEL]
    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagedIdentity:
    """An identity that the cloud manages."""

    type: Annotated[Literal["managed_identity"], Mark.CAMEL]
    client_id: str | None = None
    resource_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicePrincipal:
    """A program's name and secret."""

    type: Annotated[Literal["service_principal"], Mark.CAMEL]
    client_id: str | None = None
    client_secret: str = field(repr=False)
    tenant_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessKey:
    """A key's id and its secret."""

    type: Annotated[Literal["access_key"], Mark.CAMEL]
    access_key_id: str
    secret_access_key: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """The key of an API."""

    type: Annotated[Literal["api_key"], Mark.CAMEL]
    key: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountKey:
    """The key of an account."""

    type: Annotated[Literal["account_key"], Mark.CAMEL]
    account_key: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Aad:
    """Whoever is logged in."""

    type: Annotated[Literal["aad"], Mark.CAMEL] = "aad"


@dataclass(frozen=True, slots=True, kw_only=True)
class NoCredentials:
    """Nothing is shown."""

    type: Annotated[Literal["none"], Mark.CAMEL] = "none"


Credentials = (
    Pat | Sas | UsernamePassword | ManagedIdentity | ServicePrincipal | AccessKey | ApiKey | AccountKey | Aad
    | NoCredentials
)  # fmt: skip
_MADE = {
    "pat": Pat, "sas": Sas, "username_password": UsernamePassword, "managed_identity": ManagedIdentity,
    "service_principal": ServicePrincipal, "access_key": AccessKey, "api_key": ApiKey, "account_key": AccountKey,
    "aad": Aad, "none": NoCredentials,
}  # fmt: skip


def credentials(*kinds: str) -> Either:
    """Return the shape of credentials of some kinds."""
    return Either((ByKind({kind: Record(_MADE[kind]) for kind in kinds or _MADE}, case="camel"),), "credentials")


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """What every connection says of itself."""

    ignored: ClassVar[tuple[str, ...]] = ("$schema", "creation_context")

    origin: Origin
    findings: Annotated[tuple[Finding, ...], Mark.HIDDEN] = ()
    name: Annotated[str, "What it is called."]
    id: str | None = None
    description: Annotated[str, "What it leads to."] = ""
    tags: Annotated[Mapping[str, Any], Named(Anything()), "An old name of `metadata`."] = field(default_factory=dict)
    metadata: Annotated[Mapping[str, Any], Named(Anything(), key=Anything()), "What else is to be known."] = field(
        default_factory=dict
    )
    is_shared: Annotated[bool, "Whether others of the workspace may use it."] = True
    target: Annotated[str | None, "Where it leads."] = None
    credentials: Annotated[Credentials, credentials(), "What is shown at the door."] = field(
        default_factory=NoCredentials
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainConnection(Connection):
    """A connection with a target and credentials, and nothing of its own."""

    type: Annotated[
        Literal[
            "git", "container_registry", "python_feed", "s3", "snowflake", "azure_sql_db", "azure_synapse_analytics",
            "azure_my_sql_db", "azure_postgres_db", "custom", "azure_data_lake_gen2",
        ],
        Mark.CAMEL,
    ]  # fmt: skip
    target: Annotated[str, "Where it leads."]

    def settle(self, place: Place, _: Mapping[str, Any]) -> PlainConnection:
        fits = isinstance(self.credentials, Aad | NoCredentials | ServicePrincipal | ManagedIdentity)
        if self.type == "azure_data_lake_gen2" and not fits:
            kinds = "service_principal, managed_identity or aad"
            raise place.under("credentials").wrong(f"of a {self.type} connection are {kinds}")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobConnection(Connection):
    """A connection to a container of Azure Blob Storage."""

    type: Annotated[Literal["azure_blob"], Mark.CAMEL]
    url: str
    account_name: str
    container_name: str
    credentials: Annotated[Credentials, credentials("sas", "account_key", "aad")] = field(default_factory=Aad)


@dataclass(frozen=True, slots=True, kw_only=True)
class LakeHouse:
    """A lake house of Microsoft OneLake."""

    type: Annotated[Literal["lake_house"], Mark.CAMEL]
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OneLakeConnection(Connection):
    """A connection to Microsoft OneLake."""

    type: Annotated[Literal["azure_one_lake"], Mark.CAMEL]
    artifact: Annotated[LakeHouse | None, Mark.NULLABLE] = None
    endpoint: str
    one_lake_workspace_name: str | None = None
    credentials: Annotated[Credentials, credentials("service_principal", "aad")] = field(default_factory=Aad)

    def settle(self, place: Place, _: Mapping[str, Any]) -> OneLakeConnection:
        for key in ("artifact", "one_lake_workspace_name"):
            if self.target is None and getattr(self, key) is None:
                raise place.refused(f"without `target`, `{key}` is needed")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class AzureOpenAI(Connection):
    """A connection to Azure OpenAI."""

    type: Annotated[Literal["azure_open_ai"], Mark.CAMEL]
    azure_endpoint: str
    api_key: Annotated[str | None, Mark.NULLABLE] = field(default=None, repr=False)
    api_version: Annotated[str | None, Mark.NULLABLE] = None
    open_ai_resource_id: Annotated[str | None, Mark.NULLABLE] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AIServices(Connection):
    """A connection to Azure AI services."""

    type: Annotated[Literal["azure_ai_services"], Mark.CAMEL]
    endpoint: str
    ai_services_resource_id: str
    api_key: Annotated[str | None, Mark.NULLABLE] = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointConnection(Connection):
    """A connection to a service of Azure that has an endpoint and a key: search, content safety, speech."""

    type: Annotated[Literal["azure_ai_search", "azure_content_safety", "azure_speech_services"], Mark.CAMEL]
    endpoint: str
    api_key: Annotated[str | None, Mark.NULLABLE] = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKeyConnection(Connection):
    """A connection to any API with a key."""

    type: Annotated[Literal["api_key"], Mark.CAMEL]
    api_base: str
    api_key: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAIConnection(Connection):
    """A connection to OpenAI, or to Serp."""

    type: Annotated[Literal["open_ai", "serp"], Mark.CAMEL]
    api_key: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerlessConnection(Connection):
    """A connection to a model as a service."""

    type: Annotated[Literal["serverless"], Mark.CAMEL]
    endpoint: str
    api_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Own:
    """A connection with keys of its own; Azure ML's package finds them where its type is not written `API_KEY`."""

    made: Any

    def read(self, place: Place, value: Any) -> Any:
        written = value["type"]
        if re.search("_[^a-z]", written):
            place.under("type").lenient("case", f"{written!r} is written {written.lower()!r}")
        return Record(self.made).read(place, value)

    def schema(self, definitions: Definitions) -> Schema:
        return Record(self.made).schema(definitions)


CONNECTION = ByKind(
    {
        **{kind: Record(PlainConnection) for kind in PLAIN},
        "azure_blob": Own(BlobConnection),
        "azure_one_lake": Own(OneLakeConnection),
        "azure_open_ai": Own(AzureOpenAI),
        "azure_ai_services": Own(AIServices),
        "azure_ai_search": Own(EndpointConnection),
        "azure_content_safety": Own(EndpointConnection),
        "azure_speech_services": Own(EndpointConnection),
        "api_key": Own(ApiKeyConnection),
        "open_ai": Own(OpenAIConnection),
        "serp": Own(OpenAIConnection),
        "serverless": Own(ServerlessConnection),
    },
    case="camel",
)

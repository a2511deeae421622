"""Datastores: storage elsewhere, and how to get into it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from jobs.files.reading import Finding, Origin, Place
from jobs.files.record import Mark, Record
from jobs.files.shapes import Anything, ByKind, Definitions, Either, Named, Schema, named


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountKey:
    """The key of an account."""

    account_key: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SasToken:
    """A token that opens a part of an account."""

    sas_token: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicePrincipal:
    """A program's name and secret."""

    tenant_id: str
    client_id: str
    client_secret: str = field(repr=False)
    authority_url: str | None = None
    resource_url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A program's name and certificate."""

    tenant_id: str
    client_id: str
    thumbprint: str
    certificate: str | None = field(default=None, repr=False)
    authority_url: str | None = None
    resource_url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NoCredentials:
    """Nothing is shown at the door."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KerberosPassword:
    """A Kerberos principal and its password."""

    kerberos_realm: str
    kerberos_kdc_address: str
    kerberos_principal: str
    kerberos_password: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class KerberosKeytab:
    """A Kerberos principal and its key file."""

    kerberos_realm: str
    kerberos_kdc_address: str
    kerberos_principal: str
    kerberos_keytab: str


@dataclass(frozen=True, slots=True)
class Tenant:
    """What belongs to a tenant; `authority_uri` is an old name of `authority_url`."""

    made: type[Any]

    def read(self, place: Place, value: Any) -> Any:
        if not isinstance(value, Mapping):
            raise place.wrong(f"must be a mapping, not {named(value)}")
        written = dict(value)
        if "authority_uri" in written:
            if "authority_url" in written:
                raise place.under("authority_uri").refused("`authority_url` is said as well", hint="keep one of them")
            written["authority_url"] = written.pop("authority_uri")
        return Record(self.made).read(place, written)

    def schema(self, definitions: Definitions) -> Schema:
        return Record(self.made).schema(definitions)


STORAGE = Either((Record(AccountKey), Record(SasToken), Record(NoCredentials)), "credentials")
LAKE = Either((Tenant(ServicePrincipal), Tenant(Certificate), Record(NoCredentials)), "credentials")
Credentials = AccountKey | SasToken | ServicePrincipal | Certificate | NoCredentials | KerberosPassword | KerberosKeytab
StorageCredentials = Annotated[Credentials, STORAGE, "account_key or sas_token."]
LakeCredentials = Annotated[Credentials, LAKE, "A service principal or a certificate."]


@dataclass(frozen=True, slots=True, kw_only=True)
class Datastore:
    """What every datastore says of itself."""

    ignored: ClassVar[tuple[str, ...]] = ("$schema", "id")

    origin: Origin
    findings: Annotated[tuple[Finding, ...], Mark.HIDDEN] = ()
    name: Annotated[str, "What it is called."]
    description: Annotated[str, "What it holds."] = ""
    tags: Annotated[Mapping[str, str], "Words to find it by."] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobStore(Datastore):
    """A container of Azure Blob Storage."""

    type: Annotated[Literal["azure_blob"], Mark.CAMEL]
    account_name: str
    container_name: str
    endpoint: str = "core.windows.net"
    protocol: str = "https"
    credentials: StorageCredentials = field(default_factory=NoCredentials)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileStore(Datastore):
    """A share of Azure Files."""

    type: Annotated[Literal["azure_file"], Mark.CAMEL]
    account_name: str
    file_share_name: str
    endpoint: str = "core.windows.net"
    protocol: str = "https"
    credentials: StorageCredentials = field(default_factory=NoCredentials)


@dataclass(frozen=True, slots=True, kw_only=True)
class LakeGen2(Datastore):
    """A file system of Azure Data Lake Gen 2."""

    type: Annotated[Literal["azure_data_lake_gen2"], Mark.CAMEL]
    account_name: str
    filesystem: str
    endpoint: str = "core.windows.net"
    protocol: str = "https"
    credentials: LakeCredentials = field(default_factory=NoCredentials)


@dataclass(frozen=True, slots=True, kw_only=True)
class LakeGen1(Datastore):
    """A store of Azure Data Lake Gen 1."""

    type: Annotated[Literal["azure_data_lake_gen1"], Mark.CAMEL]
    store_name: str
    credentials: LakeCredentials = field(default_factory=NoCredentials)
    tags: Annotated[Mapping[str, Any], Named(Named(Anything()))] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class LakeHouse:
    """A lake house of Microsoft OneLake."""

    name: str
    type: Annotated[Literal["lake_house"], Mark.CAMEL] = "lake_house"


@dataclass(frozen=True, slots=True, kw_only=True)
class OneLake(Datastore):
    """A workspace of Microsoft OneLake."""

    type: Annotated[Literal["one_lake"], Mark.CAMEL]
    one_lake_workspace_name: str
    endpoint: str
    artifact: LakeHouse | None = None
    credentials: Annotated[
        Credentials, Either((Tenant(ServicePrincipal), Record(NoCredentials)), "credentials"), "A service principal."
    ] = field(default_factory=NoCredentials)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hdfs(Datastore):
    """A Hadoop file system."""

    type: Annotated[Literal["hdfs"], Mark.CAMEL]
    name_node_address: str
    hdfs_server_certificate: str | None = None
    protocol: str = "http"
    credentials: Annotated[
        Credentials, Either((Record(KerberosPassword), Record(KerberosKeytab)), "credentials"), "Kerberos."
    ]
    tags: Annotated[Mapping[str, Any], Named(Named(Anything()))] = field(default_factory=dict)

    def settle(self, place: Place, _: Mapping[str, Any]) -> Hdfs:
        place.lenient("hdfs", "Azure ML's package has a schema for hdfs and no door to it")
        return self


DATASTORE = ByKind(
    {
        "azure_blob": Record(BlobStore),
        "azure_file": Record(FileStore),
        "azure_data_lake_gen1": Record(LakeGen1),
        "azure_data_lake_gen2": Record(LakeGen2),
        "one_lake": Record(OneLake),
        "hdfs": Record(Hdfs),
    },
    case="exact",
)

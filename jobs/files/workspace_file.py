"""Workspace files, of hubs, projects and feature stores too. Here a workspace is a folder; the rest is kept."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from jobs.files.reading import Finding, Origin, Place
from jobs.files.record import Mark, NoEffect, Record
from jobs.files.references import is_web
from jobs.files.shapes import Anything, Choice, Definitions, Named, Schema, named

_OF_CLOUD = NoEffect("a workspace is a folder of this machine")
# Azure ML's package looks at the destination alone.
RuleType = Annotated[Any, Anything()]
_RESOURCE = re.compile(
    r"/subscriptions/[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}?/resourcegroups/.*/providers/[a-z.a-z]*/[a-z]*/.*"
)


@dataclass(frozen=True, slots=True)
class ResourceId:
    """The id of a resource of Azure; `none`: the word None stands for nothing."""

    none: bool = False

    def read(self, place: Place, value: Any) -> str:
        if isinstance(value, str) and (_RESOURCE.fullmatch(value.lower()) or (self.none and value == "None")):
            return value
        raise place.wrong(f"must be the id of a resource, not {named(value)}")

    def schema(self, definitions: Definitions) -> Schema:  # noqa: ARG002
        return {"type": "string"}


@dataclass(frozen=True, slots=True)
class WebAddress:
    """A URL."""

    def read(self, place: Place, value: Any) -> str:
        if isinstance(value, str) and is_web(value):
            return value
        raise place.wrong(f"must be a URL, not {named(value)}")

    def schema(self, definitions: Definitions) -> Schema:  # noqa: ARG002
        return {"type": "string"}


Resource = Annotated[str | None, ResourceId(), _OF_CLOUD]


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerKey:
    """A key of the customer's own."""

    key_vault: str | None = None
    key_uri: Annotated[str | None, WebAddress()] = None
    cosmosdb_id: str | None = None
    storage_id: str | None = None
    search_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IpRule:
    """Addresses that are let in."""

    ignored: ClassVar[tuple[str, ...]] = ("$schema",)

    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkRules:
    """Who is let in."""

    ignored: ClassVar[tuple[str, ...]] = ("$schema",)

    default_action: Annotated[Literal["Deny", "Allow"], Mark.EXACT]
    ip_rules: Annotated[tuple[IpRule, ...] | None, Mark.NULLABLE] = ()

    def settle(self, place: Place, _: Mapping[str, Any]) -> NetworkRules:
        if self.default_action == "Deny" and not self.ip_rules:
            raise place.refused("`ip_rules` are needed where `default_action` is Deny")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Assigned:
    """One identity that is assigned."""

    principal_id: str | None = None
    client_id: str | None = None
    resource_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceIdentity:
    """In whose name it acts."""

    type: Annotated[Literal["system_assigned", "user_assigned", "none", "system_assigned,user_assigned"], Mark.CAMEL]
    principal_id: str | None = None
    tenant_id: str | None = None
    user_assigned_identities: Annotated[
        Mapping[str, Assigned | None] | None, Named(Record(Assigned), nullable=True), Mark.NULLABLE
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceTag:
    """A service that may be reached."""

    service_tag: str
    protocol: str
    port_ranges: str
    address_prefixes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateEndpoint:
    """A resource that may be reached."""

    service_resource_id: str
    subresource_target: str
    spark_enabled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FqdnRule:
    """A host that may be reached."""

    open: ClassVar[bool] = True

    name: str
    type: RuleType = "fqdn"
    destination: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceTagRule:
    """A service that may be reached."""

    open: ClassVar[bool] = True

    name: str
    type: RuleType = "service_tag"
    destination: ServiceTag


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateEndpointRule:
    """A resource that may be reached."""

    open: ClassVar[bool] = True

    name: str
    type: RuleType = "private_endpoint"
    destination: PrivateEndpoint
    fqdns: tuple[str, ...] = ()


OutboundRule = FqdnRule | ServiceTagRule | PrivateEndpointRule


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagedNetwork:
    """The network that the cloud makes for it."""

    open: ClassVar[bool] = True

    isolation_mode: Annotated[
        Literal["disabled", "allow_internet_outbound", "allow_only_approved_outbound"], Mark.CAMEL
    ]
    outbound_rules: Annotated[tuple[OutboundRule, ...] | None, Mark.NULLABLE] = ()
    firewall_sku: Annotated[Literal["standard", "basic"] | None, Mark.CAMEL] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Serverless:
    """Where machines stand that come and go."""

    ignored: ClassVar[tuple[str, ...]] = ("$schema",)

    custom_subnet: Annotated[str | None, ResourceId(none=True), Mark.NULLABLE] = None
    no_public_ip: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceFile:
    """A workspace, as its file describes it."""

    ignored: ClassVar[tuple[str, ...]] = ("$schema", "id", "mlflow_tracking_uri")

    origin: Origin
    findings: Annotated[tuple[Finding, ...], Mark.HIDDEN] = ()
    name: Annotated[str, "What it is called."]
    kind: Annotated[str | None, Choice(("default", "hub", "project", "featurestore")), Mark.OURS] = None
    display_name: Annotated[str | None, "A name for people."] = None
    description: Annotated[str, "What it is for."] = ""
    tags: Annotated[Mapping[str, str], "Words to find it by."] = field(default_factory=dict)
    location: Annotated[str | None, _OF_CLOUD] = None
    resource_group: Annotated[str | None, _OF_CLOUD] = None
    discovery_url: Annotated[str | None, _OF_CLOUD] = None
    hbi_workspace: Annotated[bool | None, _OF_CLOUD] = None
    storage_account: Resource = None
    container_registry: Resource = None
    key_vault: Resource = None
    application_insights: Resource = None
    customer_managed_key: Annotated[CustomerKey | None, _OF_CLOUD] = None
    image_build_compute: Annotated[str | None, _OF_CLOUD] = None
    public_network_access: Annotated[Literal["disabled", "enabled"] | None, _OF_CLOUD] = None
    network_acls: Annotated[NetworkRules | None, _OF_CLOUD] = None
    system_datastores_auth_mode: Annotated[str | None, _OF_CLOUD] = None
    identity: Annotated[WorkspaceIdentity | None, _OF_CLOUD] = None
    primary_user_assigned_identity: Annotated[str | None, _OF_CLOUD] = None
    workspace_hub: Resource = None
    managed_network: Annotated[ManagedNetwork | None, _OF_CLOUD] = None
    provision_network_now: Annotated[bool | None, _OF_CLOUD] = None
    enable_data_isolation: Annotated[bool | None, _OF_CLOUD] = None
    allow_roleassignment_on_rg: Annotated[bool | None, _OF_CLOUD] = None
    serverless_compute: Annotated[Serverless | None, _OF_CLOUD] = None

"""Registries: assets that several workspaces share."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from jobs.files.reading import Finding, Origin, Place
from jobs.files.record import Mark, NoEffect, Record
from jobs.files.shapes import Anything, Choice, Definitions, Either, Many, Named, Schema, named

_OF_CLOUD = NoEffect("a registry is a folder or database of ours")
_STORAGE = re.compile(
    r"/subscriptions/([^/]+)/resource[gG]roups/([^/]+)/providers/Microsoft\.Storage/storageAccounts/([^/]+)"
)
_ACR = re.compile(
    r"/subscriptions/([^/]+)/resource[gG]roups/([^/]+)/providers/Microsoft\.ContainerRegistry/registries/([^/]+)"
)
STORAGE_TYPES = (
    "standard_lrs", "standard_grs", "standard_ragrs", "standard_zrs", "standard_gzrs", "standard_ragzrs",
    "premium_lrs", "premium_zrs",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ResourceId:
    """The id of a resource of Azure."""

    pattern: re.Pattern[str]

    def read(self, place: Place, value: Any) -> str:
        if isinstance(value, str) and self.pattern.match(value):
            return value
        raise place.wrong(f"must be the id of a resource, not {named(value)}")

    def schema(self, definitions: Definitions) -> Schema:  # noqa: ARG002
        return {"type": "string"}


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnContainerRegistry:
    """Images that the registry keeps itself."""

    acr_account_sku: Annotated[str, Choice(("premium",))]


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnStorage:
    """Content that the registry keeps itself."""

    storage_account_hns: bool = False
    storage_account_type: Annotated[str, Choice(STORAGE_TYPES)] = "standard_lrs"
    replication_count: int = 1

    def settle(self, place: Place, _: Mapping[str, Any]) -> OwnStorage:
        if self.replication_count < 1:
            raise place.under("replication_count").wrong(f"must be at least 1, not {self.replication_count}")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """One region that it would be in."""

    location: str | None = None
    storage_config: Annotated[
        OwnStorage | tuple[str, ...], Either((Record(OwnStorage), Many(ResourceId(_STORAGE))), "settings or ids")
    ] = field(default_factory=OwnStorage)


@dataclass(frozen=True, slots=True, kw_only=True)
class Publisher:
    """Who owns what is in it."""

    publisher: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """Assets that several workspaces share."""

    ignored: ClassVar[tuple[str, ...]] = (
        "$schema", "identity", "kind", "sku", "managed_resource_group", "mlflow_registry_uri", "discovery_url",
    )  # fmt: skip

    origin: Origin
    findings: Annotated[tuple[Finding, ...], Mark.HIDDEN] = ()
    name: Annotated[str | None, "What it is called."] = None
    id: str | None = None
    description: Annotated[str, "What it holds."] = ""
    tags: Annotated[Mapping[str, Any], Named(Anything()), "Words to find it by."] = field(default_factory=dict)
    location: Annotated[str, _OF_CLOUD]
    public_network_access: Annotated[Literal["disabled", "enabled"] | None, _OF_CLOUD] = None
    replication_locations: Annotated[tuple[Region, ...], _OF_CLOUD] = ()
    intellectual_property: Annotated[Publisher | None, _OF_CLOUD] = None
    container_registry: Annotated[
        OwnContainerRegistry | str | None,
        Either((ResourceId(_ACR), Record(OwnContainerRegistry)), "settings or an id"),
        _OF_CLOUD,
    ] = None

    def settle(self, place: Place, written: Mapping[str, Any]) -> Registry:
        if "replication_locations" not in written:
            place.lenient("no-replication", "Azure ML's package needs `replication_locations`")
        return self

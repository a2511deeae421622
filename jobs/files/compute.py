"""Computes: clusters, instances and machines of the cloud. Here each is this machine, or a Ray cluster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from jobs.files.reading import Finding, Origin
from jobs.files.record import Mark, NoEffect, Record
from jobs.files.shapes import Anything, ByKind, Named

WeekDay = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
_OF_CLOUD = NoEffect("there are no machines to start")


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """The network it would stand in."""

    ignored: ClassVar[tuple[str, ...]] = ("$schema", "public_ip_address", "private_ip_address")

    vnet_name: str | None = None
    subnet: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AssignedIdentity:
    """One identity that is assigned."""

    ignored: ClassVar[tuple[str, ...]] = ("$schema", "principal_id", "client_id", "tenant_id")

    resource_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputeIdentity:
    """In whose name it would act."""

    ignored: ClassVar[tuple[str, ...]] = ("$schema", "principal_id", "tenant_id")

    type: Annotated[Literal["system_assigned", "user_assigned", "none", "system_assigned,user_assigned"], Mark.CAMEL]
    user_assigned_identities: tuple[AssignedIdentity, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Compute:
    """What every compute says of itself."""

    ignored: ClassVar[tuple[str, ...]] = (
        "$schema", "id", "provisioning_errors", "created_on", "provisioning_state",
    )  # fmt: skip

    origin: Origin
    findings: Annotated[tuple[Finding, ...], Mark.HIDDEN] = ()
    name: Annotated[str, "What it is called."]
    description: Annotated[str, "What it is for."] = ""
    location: Annotated[str | None, _OF_CLOUD] = None
    resource_id: Annotated[str | None, _OF_CLOUD] = None
    tags: Annotated[Mapping[str, str], "Words to find it by."] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSsh:
    """Who may log in, and how."""

    admin_username: str | None = None
    admin_password: str | None = field(default=None, repr=False)
    ssh_key_value: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster(Compute):
    """Machines that come and go as they are needed."""

    type: Literal["amlcompute"]
    size: Annotated[str | None, _OF_CLOUD] = None
    tier: Annotated[Literal["low_priority", "dedicated"] | None, _OF_CLOUD] = None
    min_instances: Annotated[int | None, _OF_CLOUD] = None
    max_instances: Annotated[int | None, _OF_CLOUD] = None
    idle_time_before_scale_down: Annotated[int | None, _OF_CLOUD] = None
    ssh_public_access_enabled: Annotated[bool | None, _OF_CLOUD] = None
    ssh_settings: Annotated[ClusterSsh | None, _OF_CLOUD] = None
    network_settings: Annotated[Network | None, _OF_CLOUD] = None
    identity: Annotated[ComputeIdentity | None, _OF_CLOUD] = None
    enable_node_public_ip: Annotated[bool | None, _OF_CLOUD] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CronPower:
    """When it is started or stopped, as cron says it."""

    type: Literal["cron"]
    expression: str
    start_time: str | None = None
    time_zone: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """The days and times."""

    week_days: tuple[WeekDay, ...] = ()
    hours: tuple[int, ...]
    minutes: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecurringPower:
    """When it is started or stopped, every so often."""

    type: Literal["recurrence"]
    frequency: Literal["minute", "hour", "day", "week", "month"]
    interval: int
    schedule: Pattern | None = None
    start_time: str | None = None
    time_zone: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerSchedule:
    """One time at which it is started or stopped."""

    trigger: Annotated[
        CronPower | RecurringPower | None, ByKind({"cron": Record(CronPower), "recurrence": Record(RecurringPower)})
    ] = None
    action: Literal["start", "stop"]
    state: Literal["enabled", "disabled"] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerSchedules:
    """When it is started and stopped."""

    compute_start_stop: tuple[PowerSchedule, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceSsh:
    """Who may log in."""

    ignored: ClassVar[tuple[str, ...]] = ("$schema", "admin_username", "ssh_port")

    ssh_key_value: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OnBehalfOf:
    """For whom it is made."""

    ignored: ClassVar[tuple[str, ...]] = ("$schema",)

    user_tenant_id: str
    user_object_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image by its name."""

    reference: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AppEndpoint:
    """A port inside, and outside."""

    target: int
    published: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A folder outside, and inside."""

    source: str | None = None
    target: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """A container that runs on it."""

    name: str
    type: Literal["docker"] = "docker"
    image: Image | None = None
    endpoints: tuple[AppEndpoint, ...] = ()
    environment_variables: Annotated[Mapping[str, Any], Named(Anything(), key=Anything())] = field(default_factory=dict)
    bind_mounts: tuple[Mount, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """A script that runs on it."""

    path: str | None = None
    command: str | None = None
    timeout_minutes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SetupScripts:
    """What runs when it is made, and when it starts."""

    creation_script: Script | None = None
    startup_script: Script | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance(Compute):
    """A machine of one person."""

    ignored: ClassVar[tuple[str, ...]] = (
        *Compute.ignored, "state", "last_operation", "services", "os_image_metadata",
    )  # fmt: skip

    type: Literal["computeinstance"]
    size: Annotated[str | None, _OF_CLOUD] = None
    network_settings: Annotated[Network | None, _OF_CLOUD] = None
    create_on_behalf_of: Annotated[OnBehalfOf | None, _OF_CLOUD] = None
    ssh_settings: Annotated[InstanceSsh | None, _OF_CLOUD] = None
    ssh_public_access_enabled: Annotated[bool | None, _OF_CLOUD] = None
    schedules: Annotated[PowerSchedules | None, _OF_CLOUD] = None
    identity: Annotated[ComputeIdentity | None, _OF_CLOUD] = None
    idle_time_before_shutdown: Annotated[str | None, _OF_CLOUD] = None
    idle_time_before_shutdown_minutes: Annotated[int | None, _OF_CLOUD] = None
    custom_applications: Annotated[tuple[Application, ...], _OF_CLOUD] = ()
    setup_scripts: Annotated[SetupScripts | None, _OF_CLOUD] = None
    enable_node_public_ip: Annotated[bool | None, _OF_CLOUD] = None
    enable_sso: Annotated[bool | None, _OF_CLOUD] = None
    enable_root_access: Annotated[bool | None, _OF_CLOUD] = None
    release_quota_on_stop: Annotated[bool | None, _OF_CLOUD] = None
    enable_os_patching: Annotated[bool | None, _OF_CLOUD] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Kubernetes(Compute):
    """A Kubernetes cluster."""

    type: Literal["kubernetes"]
    namespace: Annotated[str, _OF_CLOUD]
    properties: Annotated[Mapping[str, Any], Named(Anything(), key=Anything()), _OF_CLOUD] = field(default_factory=dict)
    identity: Annotated[ComputeIdentity | None, _OF_CLOUD] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineSsh:
    """Who logs in, and how."""

    admin_username: str | None = None
    admin_password: str | None = field(default=None, repr=False)
    ssh_port: int | None = None
    ssh_private_key_file: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine(Compute):
    """A machine that is there already."""

    ignored: ClassVar[tuple[str, ...]] = (*Compute.ignored, "compute_location")

    type: Literal["virtualmachine"]
    resource_id: Annotated[str, _OF_CLOUD]
    ssh_settings: Annotated[MachineSsh | None, _OF_CLOUD] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing:
    """Settings that only the service writes."""

    ignored: ClassVar[tuple[str, ...]] = (
        "$schema", "min_node_count", "max_node_count", "auto_scale_enabled", "delay_in_minutes", "auto_pause_enabled",
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class SparkPool(Compute):
    """A pool of Synapse Spark."""

    ignored: ClassVar[tuple[str, ...]] = (*Compute.ignored, "node_family", "node_size", "node_count", "spark_version")

    type: Literal["synapsespark"]
    resource_id: Annotated[str, _OF_CLOUD]
    identity: Annotated[ComputeIdentity | None, _OF_CLOUD] = None
    scale_settings: Annotated[Nothing | None, _OF_CLOUD] = None
    auto_pause_settings: Annotated[Nothing | None, _OF_CLOUD] = None


COMPUTE = ByKind(
    {
        "amlcompute": Record(Cluster),
        "computeinstance": Record(Instance),
        "kubernetes": Record(Kubernetes),
        "virtualmachine": Record(Machine),
        "synapsespark": Record(SparkPool),
    }
)

"""What a job runs on and with: instances, limits, queues, identities, services beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from jobs.files.reading import Place
from jobs.files.record import Mark, NoEffect, Record
from jobs.files.shapes import Anything, Definitions, Either, Many, Named, Schema, Seconds, Text

_NO_CLOUD = NoEffect("there are no machines to choose from")
_NO_CONTAINER = NoEffect("jobs are processes, not containers")

# `local`, `azureml:NAME`, a bare name, an ARM id: which of them is a compute of this workspace is asked when it runs.
Compute = Annotated[str | None, "What it runs on: `local`, `azureml:NAME`, a name."]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """How many instances, of which size."""

    instance_count: Annotated[int | None, "How many nodes."] = None
    instance_type: Annotated[str | None, _NO_CLOUD] = None
    properties: Annotated[Mapping[str, Any], "Read by whoever runs the job: `gpus`, `memory` …"] = field(
        default_factory=dict
    )
    locations: Annotated[tuple[str, ...], _NO_CLOUD] = ()
    shm_size: Annotated[str | None, _NO_CONTAINER] = None
    max_instance_count: Annotated[int | None, _NO_CLOUD] = None
    docker_args: Annotated[str | tuple[str, ...] | None, Either((Text(), Many(Text()))), _NO_CONTAINER] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentResources(Resources):
    """How many instances a component wants, where its job does not say."""

    open: ClassVar[bool] = True


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandLimits:
    """When a job is ended."""

    timeout: Annotated[float | None, Seconds(), "Seconds."] = None

    def settle(self, place: Place, _: Mapping[str, Any]) -> CommandLimits:
        if isinstance(self.timeout, float) and self.timeout <= 0:
            place.under("timeout").object("limit-without-room", f"must be seconds above 0, not {self.timeout:g}")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSettings:
    """Which jobs go first."""

    job_tier: Annotated[
        Literal["null", "spot", "basic", "standard", "premium"] | None, NoEffect("all jobs are of one tier")
    ] = None
    priority: Literal["low", "medium", "high"] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """In whose name the job runs."""

    type: Annotated[Literal["managed", "managed_identity", "aml_token", "user_identity"], Mark.CAMEL]
    client_id: str | None = None
    object_id: str | None = None
    msi_resource_id: str | None = None

    def settle(self, place: Place, written: Mapping[str, Any]) -> Identity:
        if self.type not in ("managed", "managed_identity"):
            for key in ("client_id", "object_id", "msi_resource_id"):
                if key in written:
                    raise place.under(key).refused(f"an identity of type {self.type} has no `{key}`")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """Something that runs beside a job and that people open: a shell, TensorBoard, an editor."""

    ignored: ClassVar[tuple[str, ...]] = ("endpoint", "status", "error_message", "$schema")

    type: Annotated[str | None, "ssh, tensor_board, vs_code, jupyter_lab, or anything."] = None
    port: int | None = None
    nodes: Annotated[str | None, "`all`: on every node."] = None
    properties: Annotated[Mapping[str, Any], Named(Anything(), key=Anything())] = field(default_factory=dict)
    ssh_public_keys: str | None = None
    log_dir: str | None = None

    def settle(self, place: Place, _: Mapping[str, Any]) -> Service:
        kind = (self.type or "").lower()
        for key, of in (("ssh_public_keys", "ssh"), ("log_dir", "tensor_board")):
            if getattr(self, key) is not None and kind not in ("", of):
                raise place.under(key).refused(f"a service of type {self.type} has no `{key}`")
        if self.ssh_public_keys is not None and self.log_dir is not None:
            raise place.under("log_dir").refused("a service has `ssh_public_keys` or `log_dir`, not both")
        if self.nodes not in (None, "all") and place.bound == "no":
            raise place.under("nodes").wrong(f"must be `all`, not {self.nodes!r}")
        return self


@dataclass(frozen=True, slots=True)
class EnvironmentVariables:
    """Variables by name; their values are rendered as Azure's tools do it."""

    def read(self, place: Place, value: Any) -> dict[str, Any]:
        found: dict[str, Any] = Named(Anything(), key=Anything()).read(place, value)
        return {str(key): each for key, each in found.items()}

    def schema(self, definitions: Definitions) -> Schema:
        return Named(Anything()).schema(definitions)


Variables = Annotated[Mapping[str, Any], Either((EnvironmentVariables(),), "a mapping"), "Variables of the job."]
Services = Annotated[
    Mapping[str, Service],
    Named(Either((Record(Service),))),
    NoEffect("what runs beside a job in the cloud is a program of this machine"),
]
JobIdentity = Annotated[
    Identity | None, Either((Record(Identity),)), NoEffect("a job runs in the name of whoever submits it")
]

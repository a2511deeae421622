"""Model assets, and packages of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from jobs.files.environment import Route
from jobs.files.reading import Finding, Origin, Place
from jobs.files.record import Mark, NoEffect
from jobs.files.references import target
from jobs.files.shapes import Anything, Choice, Either, Named, Text, Version

ModelType = Literal["custom_model", "mlflow_model", "triton_model"]
_IMAGE = Either((Text(), Named(Text(), key=Choice(("name",), "exact"))), "a name")
Free = Annotated[Mapping[str, Any], Named(Anything(), key=Anything())]


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateReference:
    """A template of a deployment."""

    asset_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model to be kept under a name."""

    ignored: ClassVar[tuple[str, ...]] = (
        "$schema", "id", "creation_context", "latest_version", "utc_time_created", "job_name",
        "intellectual_property",
    )  # fmt: skip

    origin: Origin
    findings: Annotated[tuple[Finding, ...], Mark.HIDDEN] = ()
    name: Annotated[str, "What it is called."]
    version: Annotated[str | None, Version(), "Counted up where it is not said."] = None
    path: Annotated[str, "Where it is: a path, azureml://jobs/…/outputs/…, runs:/…, a datastore."] = ""
    type: Annotated[ModelType, "How it is kept."] = "custom_model"
    description: Annotated[str, "What it does."] = ""
    tags: Annotated[Free, "Words to find it by."] = field(default_factory=dict)
    properties: Annotated[Free, "Kept with it."] = field(default_factory=dict)
    flavors: Annotated[Free, "Ways to load it, as MLflow has them."] = field(default_factory=dict)
    stage: Annotated[str | None, "Development, Production …"] = None
    datastore: Annotated[str | None, NoEffect("local content is not uploaded")] = None
    system_metadata: Free = field(default_factory=dict)
    default_deployment_template: Annotated[TemplateReference | None, NoEffect("deployments are files")] = None
    allowed_deployment_templates: Annotated[tuple[TemplateReference, ...], NoEffect("deployments are files")] = ()

    def settle(self, place: Place, _: Mapping[str, Any]) -> Model:
        if not self.path:
            place.object("no-path", "a model needs a `path`")
        where = target(self.path, place.folder) if self.path else None
        if isinstance(where, Path) and not where.exists():
            place.under("path").object("missing-data", f"no file or folder at {self.path!r}")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Scoring:
    """A scoring script and the folder it lies in."""

    ignored: ClassVar[tuple[str, ...]] = ("$schema",)

    code: str | None = None
    scoring_script: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceConfiguration:
    """How a container of one's own answers."""

    ignored: ClassVar[tuple[str, ...]] = ("$schema",)

    liveness_route: Route | None = None
    readiness_route: Route | None = None
    scoring_route: Route | None = None
    entry_script: str | None = None
    configuration: Free = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceServer:
    """What answers for the model in the package."""

    ignored: ClassVar[tuple[str, ...]] = ("$schema",)

    type: Literal["azureml_online", "azureml_batch", "triton", "custom"]
    code_configuration: Scoring | None = None
    inference_configuration: InferenceConfiguration | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPlace:
    """How the model gets into the package."""

    ignored: ClassVar[tuple[str, ...]] = ("$schema",)

    mode: Literal["copy", "download"] | None = None
    mount_path: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseEnvironment:
    """What the package is built on."""

    ignored: ClassVar[tuple[str, ...]] = ("$schema",)

    type: str | None = None
    resource_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PackagePath:
    """Where an input of a package is: an id, a URL, or a name with a version."""

    ignored: ClassVar[tuple[str, ...]] = ("$schema",)

    input_path_type: Annotated[Literal["path_id", "url", "path_version"] | None, Mark.CAMEL] = None
    resource_id: str | None = None
    url: str | None = None
    resource_name: str | None = None
    resource_version: str | None = None

    def settle(self, place: Place, _: Mapping[str, Any]) -> PackagePath:
        said = [bool(self.resource_id), bool(self.url), bool(self.resource_name or self.resource_version)]
        if sum(said) > 1:
            raise place.wrong("must be an id, a URL, or a name with a version")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageInput:
    """A further input of a package."""

    ignored: ClassVar[tuple[str, ...]] = ("$schema",)

    type: Annotated[Literal["uri_file", "uri_folder"] | None, Mark.CAMEL] = None
    mode: Annotated[Literal["read_only_mount", "download"] | None, Mark.CAMEL] = None
    path: PackagePath | None = None
    mount_path: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPackage:
    """A model with all that serves it, in one image."""

    ignored: ClassVar[tuple[str, ...]] = ("$schema",)

    origin: Origin
    findings: Annotated[tuple[Finding, ...], Mark.HIDDEN] = ()
    target_environment: Annotated[Any, _IMAGE, "What it is called: a name, or a mapping with `name`."]
    base_environment_source: BaseEnvironment | None = None
    inferencing_server: InferenceServer
    model_configuration: ModelPlace | None = None
    inputs: tuple[PackageInput, ...] = ()
    tags: Free = field(default_factory=dict)
    environment_variables: Free = field(default_factory=dict)

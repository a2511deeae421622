"""Environment files, and environments that are written into a job: an image, a conda file, a folder to build."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from jobs.files.environment import Build, Environment, Route
from jobs.files.loading import follow
from jobs.files.reading import Finding, Origin, Place
from jobs.files.record import Mark, NoEffect, Record
from jobs.files.references import Asset, Local, Reference, Url, is_web
from jobs.files.shapes import Anything, Definitions, Either, Named, Schema, Version, is_bound, named
from workspace.documents import read_yaml
from workspace.errors import Invalid, NotFound

ROUTES = ("liveness_route", "readiness_route", "scoring_route")


@dataclass(frozen=True, slots=True)
class BuildPath:
    """The folder of a Dockerfile, or a URL to fetch it from."""

    def read(self, place: Place, value: Any) -> Path | Url | str:
        if isinstance(value, str) and is_web(value):
            return Url(url=value)
        return Local().read(place, value)

    def schema(self, definitions: Definitions) -> Schema:  # noqa: ARG002
        return {"type": "string"}


@dataclass(frozen=True, slots=True)
class CondaFile:
    """A conda file, or what one would say."""

    def read(self, place: Place, value: Any) -> Mapping[str, Any]:
        if not value:
            return {}
        if isinstance(value, dict):
            return value
        if not isinstance(value, str):
            raise place.wrong(f"must be a conda file or its content, not {named(value)}")
        path = (place.folder / value).resolve()
        try:
            document = read_yaml(path)
        except NotFound:
            hint = f"paths are relative to the folder of the file, {place.folder}"
            raise place.refused(f"no conda file at {value!r}", hint=hint) from None
        except Invalid as problem:
            raise place.refused(f"{value}: {problem.message}") from None
        if not isinstance(document.root, dict):
            raise place.refused(f"the conda file {value!r} must be a mapping with `dependencies`")
        return document.root

    def schema(self, definitions: Definitions) -> Schema:  # noqa: ARG002
        return {"type": ["string", "object"]}


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildContext:
    """What an image is built from."""

    path: Annotated[Path | Url | None, BuildPath(), "The folder with the Dockerfile."] = None
    dockerfile_path: Annotated[str, "The Dockerfile, in that folder."] = "Dockerfile"


@dataclass(frozen=True, slots=True, kw_only=True)
class Routes:
    """Where a container that serves a model answers."""

    liveness_route: Route
    readiness_route: Route
    scoring_route: Route


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoDelete:
    """When the service would delete the asset."""

    condition: Annotated[Literal["created_greater_than", "last_accessed_greater_than"] | None, Mark.CAMEL] = None
    value: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InlineEnvironment:
    """An environment written into a job. It has no name of its own."""

    ignored: ClassVar[tuple[str, ...]] = (
        "$schema", "creation_context", "latest_version", "intellectual_property",
    )  # fmt: skip

    id: Annotated[Any, Asset("environments"), "What the service calls it."] = None
    name: Annotated[Any, Anything(), NoEffect("an environment in a job has no name")] = None
    version: Annotated[Any, Anything(), NoEffect("an environment in a job has no name")] = None
    description: Annotated[str, "What it is for."] = ""
    tags: Annotated[Mapping[str, Any], Named(Anything()), "Words to find it by."] = field(default_factory=dict)
    image: Annotated[str | None, "A curated name's image, or one that a conda file is put on."] = None
    conda_file: Annotated[Mapping[str, Any] | None, CondaFile(), "Python and its packages, in conda's words."] = None
    build: Annotated[BuildContext | None, "An image to build; needs docker or podman."] = None
    inference_config: Annotated[Routes | None, "Where it answers when it serves a model."] = None
    os_type: Annotated[Literal["linux", "windows"] | None, NoEffect("it is this machine's")] = None
    datastore: Annotated[str | None, NoEffect("local content is not uploaded")] = None
    auto_delete_setting: Annotated[AutoDelete | None, NoEffect("assets are deleted by people")] = None
    origin: Origin

    def settle(self, place: Place, written: Mapping[str, Any]) -> InlineEnvironment:
        for key in ("image", "build"):
            if key in written and "image" in written and "build" in written:
                place.under(key).object("image-and-build", "an environment has an `image` or a `build`, not both")
        if not any(written.get(key) for key in ("image", "build", "conda_file")):
            place.object("empty-environment", "an environment needs an `image`, a `conda_file` or a `build`")
        return self

    def environment(self) -> Environment:
        """Return what it asks for."""
        build = self.build
        return Environment(
            image=self.image,
            conda=self.conda_file,
            build=Build(path=build.path, dockerfile=build.dockerfile_path)
            if build and isinstance(build.path, Path)
            else None,
            folder=self.origin.folder,
            inference_config={key: getattr(self.inference_config, key) for key in ROUTES}
            if self.inference_config
            else {},
            at=self.origin.at(),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentFile(InlineEnvironment):
    """An environment to keep under a name."""

    findings: Annotated[tuple[Finding, ...], Mark.HIDDEN] = ()
    name: Annotated[str, "What it is called."]
    version: Annotated[str | None, Version(), "Counted up where it is not said."] = None


@dataclass(frozen=True, slots=True)
class EnvironmentOf:
    """The environment of a job: written in place, `file:` and a file, or a reference."""

    def read(self, place: Place, value: Any) -> Environment | Reference | str:
        if is_bound(place, value):
            return str(value)
        if isinstance(value, str) and not value.startswith("file:"):
            return Asset("environments").read(place, value)
        inside = follow(place, value) if isinstance(value, str) else place
        written = inside.reading.document.root if isinstance(value, str) else value
        if isinstance(written, dict) and not {"channels", "dependencies"}.isdisjoint(written):
            hint = "put them into a conda file and name that as `conda_file`"
            raise place.wrong("cannot be a conda file", hint=hint)
        found: InlineEnvironment = Record(InlineEnvironment).read(inside, written)
        return found.environment()

    def schema(self, definitions: Definitions) -> Schema:
        file = {"type": "string", "pattern": "^file:"}
        asset, inline = Asset("environments").schema(definitions), Record(InlineEnvironment).schema(definitions)
        return {"anyOf": [asset, file, inline]}


EnvironmentField = Annotated[
    Environment | Reference | None, Either((EnvironmentOf(),)), "The Python that it runs in, and its packages."
]

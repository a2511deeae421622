"""What components of every kind say of themselves, and how they are found: in place, in a file, by name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar, Literal

from jobs.files.environment_file import AutoDelete
from jobs.files.loading import follow
from jobs.files.ports import InputPort, OutputPort
from jobs.files.reading import Finding, Origin, Place
from jobs.files.record import Mark, NoEffect, Record
from jobs.files.references import Asset, Reference
from jobs.files.shapes import Definitions, Either, Named, Schema, Shape, Version, named

NAME = re.compile(r"[a-z][a-z\d_]*")
PORT_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*(\.[a-zA-Z_][a-zA-Z0-9_]*)*")
LONGEST = 255  # letters of a name


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """What every component says of itself. One that is written into a pipeline has no name and no version."""

    ignored: ClassVar[tuple[str, ...]] = (
        "$schema", "creation_context", "latest_version", "intellectual_property",
    )  # fmt: skip

    origin: Origin
    findings: Annotated[tuple[Finding, ...], Mark.HIDDEN] = ()
    id: Annotated[Any, Asset("components"), "What the service calls it."] = None
    name: Annotated[str | None, "What it is called."] = None
    version: Annotated[str | None, Version(), "Counted up where it is not said."] = None
    display_name: Annotated[str | None, "A name for people."] = None
    description: Annotated[str, "What it does."] = ""
    tags: Annotated[Mapping[str, str], "Words to find it by."] = field(default_factory=dict)
    is_deterministic: Annotated[bool, "The same inputs give the same outputs, so that they may be used again."] = True
    inputs: Annotated[Mapping[str, InputPort], Named(Either((Record(InputPort),))), "What it takes."] = field(
        default_factory=dict
    )
    outputs: Annotated[Mapping[str, OutputPort], "What it gives."] = field(default_factory=dict)
    auto_delete_setting: Annotated[AutoDelete | None, NoEffect("assets are deleted by people")] = None

    @property
    def label(self) -> str:
        """What messages call it."""
        return self.name or self.origin.document.path.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A package of Azure DevOps that would be laid beside the code."""

    type: Literal["artifact"] = "artifact"
    feed: str | None = None
    name: str | None = None
    version: str | None = None
    scope: str | None = None
    organization: str | None = None
    project: str | None = None


Includes = Annotated[
    tuple[str | Artifact, ...], "Files and folders that are laid beside the code; `folder.zip` is the folder, zipped."
]


@dataclass(frozen=True, slots=True)
class Kept:
    """A component of a file of its own: it has a name, and no keys that nobody knows."""

    shape: Shape

    def read(self, place: Place, value: Any) -> Any:
        found = self.shape.read(place, value)
        if found.name is None:
            raise place.refused("`name` is needed")
        check_name(place.under("name"), found.name)
        return found

    def schema(self, definitions: Definitions) -> Schema:
        return self.shape.schema(definitions)


@dataclass(frozen=True, slots=True)
class Used:
    """The component of a step: a reference, a file, or written in place; name and version of these do not count.

    `inline`: it may be written in place and named with `file:`, which Azure ML allows for all kinds but pipelines.
    """

    shape: Shape
    registry: bool = True
    inline: bool = True

    def read(self, place: Place, value: Any) -> Component | Reference:
        if isinstance(value, str):
            return self._named(place, value)
        if not isinstance(value, Mapping):
            raise place.wrong(f"must be a reference, a file or a component, not {named(value)}")
        if not self.inline:
            hint = "write it into a file of its own"
            place.lenient("pipeline-in-place", "Azure ML takes no pipeline that is written into another", hint=hint)
        return self._read(place, value)

    def schema(self, definitions: Definitions) -> Schema:
        return {"anyOf": [{"type": "string"}, self.shape.schema(definitions)]}

    def _named(self, place: Place, value: str) -> Component | Reference:
        if value.startswith("azureml:"):
            found = Asset("components", registry=self.registry).read(place, value)
            if isinstance(found, Reference):
                return found
        if value.startswith("file:") and not self.inline:
            raise place.wrong(f"cannot be {value!r}", hint=f"write {value.removeprefix('file:')}")
        inside = follow(place, value)
        return self._read(inside, inside.reading.document.root)

    def _read(self, place: Place, value: Mapping[str, Any]) -> Component:
        anonymous = {key: each for key, each in value.items() if key not in ("name", "version")}
        found: Component = self.shape.read(place, anonymous)
        name = value.get("name")
        return replace(found, name=name) if isinstance(name, str) else found


def check_name(place: Place, name: str) -> None:
    """Refuse what cannot name a component; warn of what Azure ML does not take, though published files have it."""
    hint = "a small letter first, then small letters, digits and '_'"
    if not re.fullmatch(r"[A-Za-z][A-Za-z\d_.-]*", name) or len(name) > LONGEST:
        raise place.wrong(f"cannot be {name!r}", hint=hint)
    if not NAME.fullmatch(name):
        place.lenient("component-name", f"Azure ML takes no component called {name!r}", hint=hint)

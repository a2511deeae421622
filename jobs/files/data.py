"""Data assets, what data is imported from elsewhere, and MLTable files beside data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar

from jobs.files.environment_file import AutoDelete
from jobs.files.ports import DataType
from jobs.files.reading import Finding, Origin, Place
from jobs.files.record import Mark, NoEffect, Record
from jobs.files.references import target
from jobs.files.shapes import Anything, Choice, Definitions, Either, Many, Named, Schema, Version, named
from jobs.files.transfer import EndField

MLTABLE = "MLTable"  # the file that says how a folder is read
KINDS = ("uri_file", "uri_folder", "mltable")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """What every asset says of itself."""

    ignored: ClassVar[tuple[str, ...]] = ("$schema", "creation_context", "latest_version")

    origin: Origin
    findings: Annotated[tuple[Finding, ...], Mark.HIDDEN] = ()
    id: Annotated[str | None, "What the service calls it."] = None
    name: Annotated[str | None, "What it is called."] = None
    version: Annotated[str | None, Version(), "Counted up where it is not said."] = None
    description: Annotated[str, "What it is."] = ""
    tags: Annotated[Mapping[str, Any], Named(Anything()), "Words to find it by."] = field(default_factory=dict)
    datastore: Annotated[str | None, NoEffect("local content is not uploaded")] = None
    auto_delete_setting: Annotated[AutoDelete | None, NoEffect("assets are deleted by people")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Data(Asset):
    """A file, a folder or a table, to be kept under a name."""

    ignored: ClassVar[tuple[str, ...]] = (*Asset.ignored, "properties")

    path: Annotated[str, "Where it is: a path, a URL, azureml://datastores/…"]
    type: Annotated[DataType, Choice(KINDS, "exact"), "What it is."] = "uri_folder"

    def settle(self, place: Place, _: Mapping[str, Any]) -> Data:
        where = target(self.path, place.folder)
        if isinstance(where, Path):
            self._check(place.under("path"), where)
        return self

    def _check(self, place: Place, where: Path) -> None:
        if not where.exists():
            place.object("missing-data", f"no file or folder at {self.path!r}", hint="paths start where the file is")
        elif self.type == "uri_file" and where.is_dir():
            place.object("not-a-file", f"{self.path!r} is a folder, and the type is uri_file")
        elif self.type == "uri_folder" and where.is_file():
            place.object("not-a-folder", f"{self.path!r} is a file, and the type is uri_folder")


@dataclass(frozen=True, slots=True, kw_only=True)
class DataImport(Asset):
    """Data to be brought from a database or a file system elsewhere, and kept under a name."""

    ignored: ClassVar[tuple[str, ...]] = (*Asset.ignored, "properties")

    source: EndField
    path: Annotated[str, "Where it goes."]
    type: Annotated[DataType, Choice(KINDS, "exact"), "What it becomes."] = "uri_folder"


@dataclass(frozen=True, slots=True, kw_only=True)
class TablePath:
    """Files that a table is made of: one, all of a folder, or all that fit a pattern."""

    file: str | None = None
    folder: str | None = None
    pattern: str | None = None

    def settle(self, place: Place, _: Mapping[str, Any]) -> TablePath:
        if sum(each is not None for each in (self.file, self.folder, self.pattern)) != 1:
            raise place.wrong("must be one of `file`, `folder`, `pattern`")
        return self


@dataclass(frozen=True, slots=True)
class Transformation:
    """One step from files to a table: a name alone, or with what it takes."""

    def read(self, place: Place, value: Any) -> Mapping[str, Any]:
        if isinstance(value, str):
            return {value: {}}
        if not isinstance(value, Mapping) or len(value) != 1:
            raise place.wrong(f"must be one transformation, not {named(value)}", rule="no-transformation")
        return dict(value)

    def schema(self, definitions: Definitions) -> Schema:  # noqa: ARG002
        return {"type": ["string", "object"]}


@dataclass(frozen=True, slots=True, kw_only=True)
class MLTable:
    """How the files of a folder are read as a table."""

    ignored: ClassVar[tuple[str, ...]] = ("$schema",)
    open: ClassVar[bool] = True

    origin: Origin
    findings: Annotated[tuple[Finding, ...], Mark.HIDDEN] = ()
    paths: Annotated[tuple[TablePath, ...], Many(Either((Record(TablePath),))), "The files."]
    transformations: Annotated[tuple[Mapping[str, Any], ...], Many(Transformation()), "From files to a table."] = ()
    type: Annotated[Any, Anything()] = "mltable"
    metadata: Annotated[Any, Anything()] = None


def mltable_in(folder: Path) -> Path | None:
    """Return the MLTable file of a folder, or None."""
    path = folder / MLTABLE
    return path if path.is_file() else None

"""Moving data: import from a database or a file system, copy, export. They are steps of pipelines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from jobs.files.component import Component, Used
from jobs.files.ports import InputPort, OutputPort
from jobs.files.reading import Place
from jobs.files.record import Record
from jobs.files.shapes import ByKind, Choice, Definitions, Either, Named, Schema, Shape
from workspace.errors import Invalid, Location

ImportKind = Literal["azuresqldb", "azuresynapseanalytics", "snowflake"]
CopyMode = Literal["merge_with_overwrite", "fail_if_conflict"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcedureParameter:
    """One parameter of a stored procedure."""

    name: str | None = None
    value: str | None = None
    type: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """A database, and what is asked of it: a query, a table or a stored procedure."""

    type: Literal["database"]
    connection: Annotated[str, "The connection that leads to it."]
    query: str | None = None
    table_name: str | None = None
    stored_procedure: str | None = None
    stored_procedure_params: tuple[ProcedureParameter, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSystem:
    """A path in a file system elsewhere."""

    type: Literal["file_system"] = "file_system"
    connection: Annotated[str, "The connection that leads to it."]
    path: str | None = None


End = Database | FileSystem
END = Either((Record(Database), Record(FileSystem)), "a database or a file_system")
EndField = Annotated[End, END, "Where the data is, or goes."]


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseSource:
    """What an import step reads: a query of a database."""

    type: ImportKind
    connection: str
    query: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSource:
    """What an import step reads: a path of S3."""

    type: Literal["s3"]
    connection: str
    path: str


ImportSource = Annotated[
    DatabaseSource | FileSource,
    ByKind(
        {
            "azuresqldb": Record(DatabaseSource),
            "azuresynapseanalytics": Record(DatabaseSource),
            "snowflake": Record(DatabaseSource),
            "s3": Record(FileSource),
        }
    ),
]


def import_source(given: Mapping[str, Any], *, at: Location) -> DatabaseSource | FileSource:
    """Return where data is, by the ports of an import component: `type`, `connection`, and `query` or `path`."""
    where = "query" if given.get("query") else "path"
    if not given.get("connection") or not given.get(where):
        raise Invalid("an import needs a `connection`, and a `query` or a `path`", at=at)
    connection = str(given["connection"])
    if where == "query":
        return DatabaseSource(type=given.get("type", "azuresqldb"), connection=connection, query=str(given["query"]))
    return FileSource(type="s3", connection=connection, path=str(given["path"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """Which kind of place data comes from or goes to."""

    type: Literal["file_system", "database"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcePort:
    """What the data is that goes out."""

    type: Literal["uri_folder", "uri_file"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkPort:
    """What the data becomes that comes in."""

    type: Literal["uri_folder", "mltable"]


@dataclass(frozen=True, slots=True)
class Narrowed:
    """A port that says its type and nothing else, and may be of some types only."""

    shape: Shape
    made: type[InputPort] | type[OutputPort]

    def read(self, place: Place, value: Any) -> InputPort | OutputPort:
        return self.made(type=self.shape.read(place, value).type)

    def schema(self, definitions: Definitions) -> Schema:
        return self.shape.schema(definitions)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportComponent(Component):
    """A step that brings data from a database or from S3."""

    type: Literal["import"] = "import"
    source: Annotated[
        Mapping[str, InputPort],
        Named(Record(InputPort), key=Choice(("type", "connection", "query", "path"), "exact")),
        "What it reads, as ports.",
    ]
    output: Annotated[OutputPort, "What it gives."]

    def settle(self, place: Place, written: Mapping[str, Any]) -> ImportComponent:
        _refuse(place, written, ("inputs", "outputs"), "an import component")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyComponent(Component):
    """A step that copies data."""

    type: Literal["data_transfer"]
    task: Literal["copy_data"]
    data_copy_mode: CopyMode | None = None

    def settle(self, place: Place, written: Mapping[str, Any]) -> CopyComponent:
        if "outputs" not in written:
            raise place.wrong("needs one output to copy to, below `outputs`")
        if len(self.outputs) != 1:
            raise place.under("outputs").wrong(f"must be one output, not {len(self.outputs)}")
        if not self.inputs:
            raise place.wrong("needs `inputs` to copy")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportDataComponent(Component):
    """A step that brings data here."""

    type: Literal["data_transfer"]
    task: Literal["import_data"]
    source: Side
    outputs: Annotated[Mapping[str, OutputPort], Named(Narrowed(Record(SinkPort), OutputPort))] = field(
        default_factory=dict
    )

    def settle(self, place: Place, written: Mapping[str, Any]) -> ImportDataComponent:
        _refuse(place, written, ("inputs",), "import_data")
        if "outputs" in written:
            check_only(place.under("outputs"), self.outputs, "sink")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportDataComponent(Component):
    """A step that takes data elsewhere."""

    type: Literal["data_transfer"]
    task: Literal["export_data"]
    sink: Side
    inputs: Annotated[Mapping[str, InputPort], Named(Narrowed(Record(SourcePort), InputPort))] = field(
        default_factory=dict
    )

    def settle(self, place: Place, written: Mapping[str, Any]) -> ExportDataComponent:
        _refuse(place, written, ("outputs",), "export_data")
        if "inputs" in written:
            check_only(place.under("inputs"), self.inputs, "source")
        return self


TransferComponent = CopyComponent | ImportDataComponent | ExportDataComponent
IMPORT = Used(Record(ImportComponent, open=True))
COPY = Used(Record(CopyComponent, open=True))
TRANSFERS = ByKind(
    {
        "copy_data": Record(CopyComponent, open=True),
        "import_data": Record(ImportDataComponent, open=True),
        "export_data": Record(ExportDataComponent, open=True),
    },
    key="task",
)


def check_only(place: Place, ports: Mapping[str, Any], name: str) -> None:
    """Refuse ports other than the one that a task has."""
    if list(ports) != [name]:
        raise place.wrong(f"must be `{name}` alone, not {', '.join(ports) or 'nothing'}")


def _refuse(place: Place, written: Mapping[str, Any], keys: tuple[str, ...], what: str) -> None:
    for key in keys:
        if key in written:
            raise place.under(key).refused(f"{what} has no `{key}`")

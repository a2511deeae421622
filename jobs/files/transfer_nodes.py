"""Steps that move data: copy, which is run as a command; import and export, by what connections lead to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar, Literal

from jobs.files.command import Job
from jobs.files.component import Component
from jobs.files.nodes import Node, NodeOutputs
from jobs.files.ports import Inputs, Output
from jobs.files.reading import Place
from jobs.files.record import Mark
from jobs.files.references import Asset, Reference
from jobs.files.resources import Compute
from jobs.files.transfer import COPY, IMPORT, CopyMode, EndField, ImportSource, check_only


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportNode(Node):
    """A step that brings data from a database or from S3."""

    type: Literal["import"] = "import"
    component: Annotated[Component | Reference, IMPORT, "What it runs."]


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyNode(Node):
    """A step that copies data."""

    type: Literal["data_transfer"]
    task: Literal["copy_data"]
    component: Annotated[Component | Reference, COPY, "What it runs."]
    compute: Compute = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportDataNode(Node):
    """A step that brings data here."""

    type: Literal["data_transfer"]
    task: Literal["import_data"]
    component: Annotated[Reference, Asset("components"), "What it runs."]
    source: EndField
    compute: Compute = None

    def settle(self, place: Place, written: Mapping[str, Any]) -> ImportDataNode:
        if "inputs" in written:
            raise place.under("inputs").refused("import_data has no `inputs`")
        if "outputs" in written:
            check_only(place.under("outputs"), self.outputs, "sink")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportDataNode(Node):
    """A step that takes data elsewhere."""

    type: Literal["data_transfer"] = "data_transfer"
    task: Literal["export_data"]
    component: Annotated[Reference, Asset("components"), "What it runs."]
    sink: EndField
    compute: Compute = None

    def settle(self, place: Place, written: Mapping[str, Any]) -> ExportDataNode:
        if "outputs" in written:
            raise place.under("outputs").refused("export_data has no `outputs`")
        if "inputs" in written:
            check_only(place.under("inputs"), self.inputs, "source")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer(Job):
    """What jobs that move data have in common, written in place."""

    ignored: ClassVar[tuple[str, ...]] = Job.ignored

    inline: Annotated[bool, Mark.HIDDEN] = True

    @property
    def key(self) -> str:
        """What the pipeline calls it."""
        return str(self.origin.steps[-1]) if self.origin.steps else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportJob(Transfer):
    """Data from a database or from S3."""

    type: Literal["import"] = "import"
    source: ImportSource
    output: Output
    inputs: Annotated[Mapping[str, Any], Mark.HIDDEN] = field(default_factory=dict)
    outputs: Annotated[Mapping[str, Output], Mark.HIDDEN] = field(default_factory=dict)

    def settle(self, place: Place, written: Mapping[str, Any]) -> ImportJob:
        if "compute" in written:
            raise place.under("compute").refused("an import has no `compute`")
        return replace(self, outputs={"output": self.output})


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyJob(Transfer):
    """Data that is copied."""

    type: Literal["data_transfer"]
    task: Literal["copy_data"]
    data_copy_mode: CopyMode | None = None
    inputs: Inputs = field(default_factory=dict)
    outputs: Annotated[Mapping[str, Output], NodeOutputs()] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportDataJob(Transfer):
    """Data that is brought here."""

    type: Literal["data_transfer"]
    task: Literal["import_data"]
    source: EndField
    inputs: Annotated[Mapping[str, Any], Mark.HIDDEN] = field(default_factory=dict)
    outputs: Annotated[Mapping[str, Output], NodeOutputs()] = field(default_factory=dict)

    def settle(self, place: Place, written: Mapping[str, Any]) -> ImportDataJob:
        if "outputs" in written:
            check_only(place.under("outputs"), self.outputs, "sink")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportDataJob(Transfer):
    """Data that is taken elsewhere."""

    type: Literal["data_transfer"]
    task: Literal["export_data"]
    sink: EndField
    inputs: Inputs = field(default_factory=dict)
    outputs: Annotated[Mapping[str, Output], Mark.HIDDEN] = field(default_factory=dict)

    def settle(self, place: Place, written: Mapping[str, Any]) -> ExportDataJob:
        if "inputs" in written:
            check_only(place.under("inputs"), self.inputs, "source")
        return self


# Steps whose work is not known by what they are given: what is elsewhere changes without us.
ELSEWHERE = (ImportJob, ImportDataJob, ExportDataJob)

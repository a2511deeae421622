"""Pipelines: steps that take each other's outputs; as jobs, and as components that are steps themselves."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from jobs.files.command import Job
from jobs.files.component import Component, Used
from jobs.files.control_flow import DO_WHILE, IF_ELSE, PARALLEL_FOR, ControlFlow
from jobs.files.expressions import fill
from jobs.files.inline_nodes import COMMAND_IN_PLACE, PARALLEL_IN_PLACE, SPARK_IN_PLACE
from jobs.files.loading import follow
from jobs.files.nodes import CommandNode, Node, ParallelNode, SparkNode, SweepNode
from jobs.files.ports import InputValue, OutputsByName, Value
from jobs.files.reading import Place, Reading
from jobs.files.record import Late, NoEffect, Record
from jobs.files.references import PREFIX, Reference
from jobs.files.shapes import ByKind, Choice, Definitions, Named, Schema, Shape, is_bound, named
from workspace.documents import Document
from workspace.errors import did_you_mean

if TYPE_CHECKING:
    from jobs.files.automl import AutoMLJob
    from jobs.files.transfer_nodes import Transfer

    Step = Node | AutoMLJob | Transfer | ControlFlow
else:
    Step = Any

KEY = re.compile(r"[a-z_][a-z\d_]*")
AUTOML_TASKS = {
    "classification": "automl:Classification",
    "regression": "automl:Regression",
    "forecasting": "automl:ForecastingJob",
    "text_classification": "automl_text:TextClassification",
    "text_classification_multilabel": "automl_text:TextMultilabel",
    "text_ner": "automl_text:TextNer",
    "image_classification": "automl_images:ImageClassification",
    "image_classification_multilabel": "automl_images:ImageMultilabel",
    "image_object_detection": "automl_images:ObjectDetection",
    "image_instance_segmentation": "automl_images:InstanceSegmentation",
}
AUTOML = ByKind({task: Late(f"jobs.files.{where}") for task, where in AUTOML_TASKS.items()}, key="task", case="exact")
KINDS = (
    "command", "sweep", "parallel", "spark", "automl", "pipeline", "import", "data_transfer",
    "if_else", "do_while", "parallel_for",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ComputeName:
    """A compute by reference, or `serverless`; a bare name is let through with a warning."""

    def read(self, place: Place, value: Any) -> str:
        if not isinstance(value, str):
            raise place.wrong(f"must name a compute, not {named(value)}")
        if not value.startswith(PREFIX) and value.lower() != "serverless" and not is_bound(place, value):
            place.lenient("bare-name", f"{value!r} names a compute without `{PREFIX}`", hint=f"write {PREFIX}{value}")
        return value

    def schema(self, definitions: Definitions) -> Schema:  # noqa: ARG002
        return {"type": "string"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What holds for all steps."""

    open: ClassVar[bool] = True

    default_compute: Annotated[str | None, ComputeName(), "What steps run on that do not say."] = None
    default_datastore: Annotated[str | None, ComputeName(), NoEffect("outputs are kept in the workspace")] = None
    continue_on_step_failure: Annotated[bool, "Whether steps run that do not need one which failed."] = True
    force_rerun: Annotated[bool, "Whether steps run that could be used again."] = False
    on_init: Annotated[str | None, "A step to run first."] = None
    on_finalize: Annotated[str | None, "A step to run last."] = None


@dataclass(frozen=True, slots=True)
class Steps:
    """The steps of a pipeline, by name."""

    def read(self, place: Place, value: Any) -> dict[str, Step]:
        if not isinstance(value, Mapping):
            raise place.wrong(f"must be a mapping of steps, not {named(value)}")
        for key in value:
            if not isinstance(key, str) or not KEY.fullmatch(key):
                hint = "small letters, digits and '_', no digit first"
                raise place.under(key).refused(f"{key!r} cannot name a step", hint=hint)
        return {key: _step(place.under(key), each) for key, each in value.items()}

    def schema(self, definitions: Definitions) -> Schema:
        shapes: list[Shape] = [shape for pair in _PAIRS.values() for shape in pair if shape]
        others: list[Shape] = [AUTOML, *(shape for pair in _TRANSFERS.values() for shape in pair), *_FLOW.values()]
        return {
            "type": "object",
            "propertyNames": {"pattern": f"^{KEY.pattern}$"},
            "additionalProperties": {"anyOf": [shape.schema(definitions) for shape in (*shapes, *others)]},
        }


PIPELINE = Used(Late("jobs.files.pipeline:PipelineComponent", open=True), inline=False)
ComponentField = Annotated[Component | Reference, PIPELINE, "The pipeline that it runs."]


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineNode(Node):
    """A step that is a pipeline itself."""

    type: Literal["pipeline"] = "pipeline"
    component: ComponentField
    settings: Annotated[Any, Record(Settings)] = None
    compute: Annotated[Any, "What its steps run on that do not say."] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineComponent(Component):
    """A pipeline with declared inputs and outputs, to be a step of others."""

    type: Literal["pipeline"] = "pipeline"
    jobs: Annotated[Mapping[str, Step], Steps(), "The steps, by name."] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineJob(Job):
    """Steps that take each other's outputs."""

    type: Literal["pipeline"]
    settings: Settings = field(default_factory=Settings)
    inputs: Annotated[Mapping[str, Value], Named(InputValue()), "What goes in, by name."] = field(default_factory=dict)
    outputs: OutputsByName = field(default_factory=dict)
    jobs: Annotated[Mapping[str, Step], Steps(), "The steps, by name."] = field(default_factory=dict)
    component: Annotated[Component | Reference | None, PIPELINE, "Instead of steps: the pipeline that it runs."] = None

    def settle(self, place: Place, written: Mapping[str, Any]) -> PipelineJob:
        if "component" in written and written.get("jobs"):
            raise place.under("component").refused("a pipeline has `jobs` or a `component`, not both")
        return self

    @property
    def steps(self) -> Mapping[str, Step]:
        """The steps, its own or those of its component."""
        return self.component.jobs if isinstance(self.component, PipelineComponent) else self.jobs


_PAIRS: Mapping[str, tuple[Shape, Shape | None]] = {
    "command": (Record(CommandNode, open=True), COMMAND_IN_PLACE),
    "sweep": (Record(SweepNode, open=True), None),
    "parallel": (Record(ParallelNode, open=True), PARALLEL_IN_PLACE),
    "spark": (Record(SparkNode, open=True), SPARK_IN_PLACE),
    "pipeline": (Record(PipelineNode, open=True), None),
    "import": (Late("jobs.files.transfer_nodes:ImportNode", open=True), Late("jobs.files.transfer_nodes:ImportJob")),
}
# By task: the step with a component, and the job in place of it.
_TRANSFERS: Mapping[str, tuple[Shape, Shape]] = {
    "copy_data": (Late("jobs.files.transfer_nodes:CopyNode", open=True), Late("jobs.files.transfer_nodes:CopyJob")),
    "import_data": (
        Late("jobs.files.transfer_nodes:ImportDataNode", open=True),
        Late("jobs.files.transfer_nodes:ImportDataJob"),
    ),
    "export_data": (
        Late("jobs.files.transfer_nodes:ExportDataNode", open=True),
        Late("jobs.files.transfer_nodes:ExportDataJob"),
    ),
}
_FLOW: Mapping[str, Shape] = {"if_else": IF_ELSE, "do_while": DO_WHILE, "parallel_for": PARALLEL_FOR}


def settled(step: Step, find: Callable[[str], Any]) -> Step:
    """Return a step as it is once its expressions are filled in: `find("parent.inputs.rate")` gives a value."""
    root = fill(step.origin.written, find)
    return replace(_step(Place(Reading(Document(step.origin.document.path, root))), root), origin=step.origin)


def _step(place: Place, value: Any) -> Step:
    if not isinstance(value, Mapping):
        raise place.wrong(f"must be a mapping, not {named(value)}")
    kind = _kind(place, value)
    if kind in _FLOW:
        flow: Step = _FLOW[kind].read(place, value)
        return flow
    bound = replace(place, bound="yes")
    if kind == "automl":
        return _automl(bound, value)
    if kind == "data_transfer":
        task = Choice(tuple(_TRANSFERS)).read(place.under("task"), value.get("task"))
        with_component, in_place = _TRANSFERS[task]
    else:
        with_component, in_place = _PAIRS[kind]  # type: ignore[assignment]  # Shapes
    if "component" in value or kind == "sweep" or in_place is None:
        made: Step = with_component.read(bound, value)
        return made
    written: Step = in_place.read(bound if kind == "parallel" else replace(place, bound="warned"), value)
    return written


def _automl(place: Place, value: Mapping[str, Any]) -> Step:
    task = Choice(tuple(AUTOML_TASKS), "camel").read(replace(place, bound="no").under("task"), value.get("task"))
    made: Step = Late(f"jobs.files.{AUTOML_TASKS[task]}", open=True).read(place, value)
    return made


def _kind(place: Place, value: Mapping[str, Any]) -> str:
    """Return what a step is: it says so, or what it holds does."""
    if "type" in value:
        return Choice(KINDS).read(place.under("type"), value["type"])
    if isinstance(value.get("component"), Mapping):
        written = value["component"].get("type", "command")
        return written if written in _PAIRS else "command"
    for key, kind in (("component", ""), ("trial", "sweep"), ("command", "command"), ("entry", "spark"),
                      ("output", "import"), ("task", "parallel")):  # fmt: skip
        if key in value:
            return kind or _kind_of_file(place, value["component"])
    hint = did_you_mean(next(iter(map(str, value)), ""), ("component", "trial", "command", "task"))
    raise place.wrong("says neither `type` nor `component` nor `command`", hint=hint, rule="empty-step")


def _kind_of_file(place: Place, written: Any) -> str:
    if not isinstance(written, str) or written.startswith(PREFIX):
        return "command"
    kind = str(follow(place.under("component"), written).reading.document.root.get("type", "command")).lower()
    return kind if kind in _PAIRS else "command"

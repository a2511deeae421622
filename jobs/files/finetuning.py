"""Fine-tuning jobs, and distillation: a model that learns from data, or from a larger model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from jobs.files.command import Job
from jobs.files.connection import CONNECTION, Connection
from jobs.files.ports import MODELS, Input, OutputsByName
from jobs.files.reading import Place
from jobs.files.record import Mark, NoEffect, Record
from jobs.files.references import Asset, Reference, target
from jobs.files.resources import QueueSettings
from jobs.files.shapes import Anything, ByKind, Choice, Definitions, Named, Schema, Text, named

_TASKS = (
    "chat_completion", "text_completion", "text_classification", "question_answering", "text_summarization",
    "token_classification", "text_translation", "image_classification", "image_instance_segmentation",
    "image_object_detection", "video_multi_object_tracking",
)  # fmt: skip
Task = Literal[
    "chat_completion", "text_completion", "text_classification", "question_answering", "text_summarization",
    "token_classification", "text_translation", "image_classification", "image_instance_segmentation",
    "image_object_detection", "video_multi_object_tracking",
]  # fmt: skip
DATA = ("uri_file", "uri_folder")


@dataclass(frozen=True, slots=True)
class InputOf:
    """An input of some types only."""

    types: tuple[str, ...]
    otherwise: str

    def read(self, place: Place, value: Any) -> Input:
        if not isinstance(value, Mapping):
            raise place.wrong(f"must be a mapping with `path`, not {named(value)}")
        kind = Choice(self.types).read(place.under("type"), value["type"]) if "type" in value else self.otherwise
        made: Input = Record(Input).read(place, {**value, "type": kind})
        return made

    def schema(self, definitions: Definitions) -> Schema:
        return Record(Input).schema(definitions)


@dataclass(frozen=True, slots=True)
class DataShape:
    """Data to learn from: a mapping, or its path alone."""

    def read(self, place: Place, value: Any) -> Input:
        if not isinstance(value, str):
            return InputOf(DATA, "uri_folder").read(place, value)
        where = target(value, place.folder)
        if isinstance(where, Path) and not where.exists():
            place.object("missing-data", f"no file or folder at {value!r}")
        return Input(type="uri_file", path=str(where) if isinstance(where, Path) else value)

    def schema(self, definitions: Definitions) -> Schema:
        return {"anyOf": [{"type": "string"}, Record(Input).schema(definitions)]}


@dataclass(frozen=True, slots=True)
class TaskWord:
    """A task, written as `chatCompletion` or `chat_completion`."""

    def read(self, place: Place, value: Any) -> str:
        for word in _TASKS:
            if isinstance(value, str) and camel(value) == camel(word):
                return word
        raise place.wrong(f"cannot be {named(value)}", hint=f"one of {', '.join(map(camel, _TASKS))}")

    def schema(self, definitions: Definitions) -> Schema:  # noqa: ARG002
        return {"enum": [*map(camel, _TASKS), *_TASKS]}


@dataclass(frozen=True, slots=True)
class StudentModel:
    """A model: a mapping, or a reference."""

    def read(self, place: Place, value: Any) -> Input | Reference | str:
        if isinstance(value, str):
            return Asset("models").read(place, value)
        return InputOf(MODELS, "custom_model").read(place, value)

    def schema(self, definitions: Definitions) -> Schema:
        return {"anyOf": [Asset("models").schema(definitions), Record(Input).schema(definitions)]}


Model = Annotated[Input, InputOf(MODELS, "custom_model"), "The model to start from."]
Data = Annotated[Input | None, DataShape(), "Data to learn from."]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResources:
    """The machines of the cloud that would do."""

    instance_types: Annotated[tuple[str, ...], NoEffect("there are no machines to choose from")] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAIHyperparameters:
    """What Azure OpenAI is told about training."""

    n_epochs: int | None = None
    learning_rate_multiplier: float | None = None
    batch_size: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FineTuningJob(Job):
    """A model that learns from data."""

    type: Literal["finetuning"]
    task: Annotated[Task, TaskWord(), "What it learns to do."]
    model: Model
    training_data: Data = None
    validation_data: Data = None
    outputs: OutputsByName = field(default_factory=dict)
    queue_settings: QueueSettings | None = None
    resources: JobResources | None = None

    def settle(self, place: Place, _: Mapping[str, Any]) -> FineTuningJob:
        if self.training_data is None:
            place.object("no-training-data", "a fine-tuning job needs `training_data`")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomFineTuning(FineTuningJob):
    """A model of ours that learns from data."""

    model_provider: Literal["custom"]
    hyperparameters: Annotated[Mapping[str, str | None], "What the trainer is told, by name."] = field(
        default_factory=dict
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAIFineTuning(FineTuningJob):
    """A model of Azure OpenAI that learns from data."""

    model_provider: Annotated[Literal["azure_open_ai"], Mark.CAMEL]
    hyperparameters: OpenAIHyperparameters | None = None


FINE_TUNING = ByKind(
    {"custom": Record(CustomFineTuning), "azure_open_ai": Record(OpenAIFineTuning)}, key="model_provider", case="exact"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointRequests:
    """How the teacher is asked."""

    request_batch_size: int | None = None
    min_endpoint_success_ratio: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TeacherSettings:
    """How the teacher answers."""

    inference_parameters: Annotated[Mapping[str, Any], Named(Anything())] = field(default_factory=dict)
    endpoint_request_settings: EndpointRequests | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptSettings:
    """What the teacher is asked for beside the answer."""

    enable_chain_of_thought: bool | None = None
    enable_chain_of_density: bool | None = None
    max_len_summary: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Machines:
    """The machines of the cloud that it would run on."""

    instance_count: int | None = None
    instance_type: Annotated[str | None, NoEffect("there are no machines to choose from")] = None
    properties: Annotated[Mapping[str, Any], Named(Anything())] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DistillationJob(Job):
    """A small model that learns from a large one."""

    type: Literal["distillation"]
    data_generation_type: Literal["label_generation", "data_generation"]
    data_generation_task_type: Literal["NLI", "NLU_QA", "CONVERSATION", "MATH", "SUMMARIZATION"]
    teacher_model_endpoint_connection: Annotated[Connection, CONNECTION, "The connection to the teacher."]
    student_model: Annotated[Input | Reference, StudentModel(), "The model that learns."]
    training_data: Data = None
    validation_data: Data = None
    teacher_model_settings: TeacherSettings | None = None
    prompt_settings: PromptSettings | None = None
    hyperparameters: Annotated[Mapping[str, str | None], Named(Text(), nullable=True)] = field(default_factory=dict)
    resources: Annotated[Machines | None, "Machines of the cloud."] = None
    outputs: OutputsByName = field(default_factory=dict)

    def settle(self, place: Place, _: Mapping[str, Any]) -> DistillationJob:
        for key in ("training_data", "validation_data"):
            if self.data_generation_type == "label_generation" and getattr(self, key) is None:
                raise place.refused(f"`{key}` is needed where labels are generated")
        return self


def camel(word: str) -> str:
    """Return snake_case as camelCase: `camel("chat_completion") == "chatCompletion"`."""
    first, *rest = word.split("_")
    return first + "".join(part[:1].upper() + part[1:] for part in rest)

"""AutoML jobs on text: classification into one or several classes, and named entities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from jobs.files.automl import AutoMLJob, ClassificationMetric, Data, check_data
from jobs.files.reading import Place
from jobs.files.record import Mark
from jobs.files.search_fields import REAL, TEXT, WHOLE, words
from jobs.files.sweep import EarlyTerminationField, Sampling, SamplingShape

Scheduler = Literal[
    "none", "linear", "cosine", "cosine_with_restarts", "polynomial", "constant", "constant_with_warmup"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextLimits:
    """How many models are tried, and for how long."""

    max_concurrent_trials: int | None = None
    max_trials: int | None = None
    max_nodes: int | None = None
    timeout_minutes: int | None = None
    trial_timeout_minutes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepSettings:
    """How values are chosen, and which trials are ended early."""

    sampling_algorithm: Annotated[Sampling | None, SamplingShape()] = None
    early_termination: EarlyTerminationField = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TextParameters:
    """How a model is trained, the same in all trials."""

    gradient_accumulation_steps: int | None = None
    learning_rate: float | None = None
    learning_rate_scheduler: Annotated[Scheduler | None, Mark.CAMEL] = None
    model_name: str | None = None
    number_of_epochs: int | None = None
    training_batch_size: int | None = None
    validation_batch_size: int | None = None
    warmup_ratio: float | None = None
    weight_decay: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TextSpace:
    """How a model is trained, searched: values or spaces."""

    gradient_accumulation_steps: Annotated[Any, WHOLE] = None
    learning_rate: Annotated[Any, REAL] = None
    learning_rate_scheduler: Annotated[Any, words(*get_args(Scheduler))] = None
    model_name: Annotated[Any, TEXT] = None
    number_of_epochs: Annotated[Any, WHOLE] = None
    training_batch_size: Annotated[Any, WHOLE] = None
    validation_batch_size: Annotated[Any, WHOLE] = None
    warmup_ratio: Annotated[Any, REAL] = None
    weight_decay: Annotated[Any, REAL] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TextFeaturization:
    """What language the texts are in."""

    dataset_language: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TextJob(AutoMLJob):
    """A search for the best model on texts."""

    limits: TextLimits | None = None
    sweep: SweepSettings | None = None
    training_parameters: TextParameters | None = None
    search_space: tuple[TextSpace, ...] = ()
    featurization: TextFeaturization | None = None
    validation_data: Data = None

    def settle(self, place: Place, _: Mapping[str, Any]) -> TextJob:
        check_data(place, self)
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class TextClassification(TextJob):
    """The best classifier of texts."""

    task: Annotated[Literal["text_classification"], Mark.SETTLED, Mark.CAMEL]
    primary_metric: Annotated[ClassificationMetric, Mark.CAMEL] = "accuracy"
    target_column_name: Annotated[str, "The column to predict."]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextMultilabel(TextJob):
    """The best classifier of texts into several classes each."""

    task: Annotated[Literal["text_classification_multilabel"], Mark.SETTLED, Mark.CAMEL]
    primary_metric: Annotated[Literal["accuracy"], Mark.CAMEL] = "accuracy"
    target_column_name: Annotated[str, "The column to predict."]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextNer(TextJob):
    """The best finder of names in texts."""

    task: Annotated[Literal["text_ner"], Mark.SETTLED, Mark.CAMEL]
    primary_metric: Annotated[Literal["accuracy"], Mark.CAMEL] = "accuracy"
    target_column_name: Annotated[str | None, "The column to predict."] = None

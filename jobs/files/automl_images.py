"""AutoML jobs on images: classes, objects, instances."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from jobs.files.automl import AutoMLJob, ClassificationMetric, Data, check_data
from jobs.files.automl_text import SweepSettings
from jobs.files.reading import Place
from jobs.files.record import Mark
from jobs.files.search_fields import REAL, TEXT, TRUTH, WHOLE_STEPS, words

Scheduler = Literal["none", "warmup_cosine", "step"]
Optimizer = Literal["none", "sgd", "adam", "adamw"]
ModelSize = Literal["none", "small", "medium", "large", "extra_large"]
ValidationMetric = Literal["none", "coco", "voc", "coco_voc"]
MultilabelMetric = Literal[
    "iou", "auc_weighted", "accuracy", "norm_macro_recall", "average_precision_score_weighted",
    "precision_score_weighted",
]  # fmt: skip

SearchedReal = Annotated[Any, REAL]
SearchedWhole = Annotated[Any, WHOLE_STEPS]
SearchedText = Annotated[Any, TEXT]
SearchedTruth = Annotated[Any, TRUTH]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageLimits:
    """How many models are tried, and for how long."""

    max_concurrent_trials: int | None = None
    max_trials: int | None = None
    timeout_minutes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageParameters:
    """How a model is trained, the same in all trials."""

    ams_gradient: bool | None = None
    advanced_settings: str | None = None
    beta1: float | None = None
    beta2: float | None = None
    checkpoint_frequency: int | None = None
    checkpoint_run_id: str | None = None
    distributed: bool | None = None
    early_stopping: bool | None = None
    early_stopping_delay: int | None = None
    early_stopping_patience: int | None = None
    evaluation_frequency: int | None = None
    enable_onnx_normalization: bool | None = None
    gradient_accumulation_step: int | None = None
    layers_to_freeze: int | None = None
    learning_rate: float | None = None
    learning_rate_scheduler: Annotated[Scheduler | None, Mark.CAMEL] = None
    model_name: str | None = None
    momentum: float | None = None
    nesterov: bool | None = None
    number_of_epochs: int | None = None
    number_of_workers: int | None = None
    optimizer: Annotated[Optimizer | None, Mark.CAMEL] = None
    random_seed: int | None = None
    step_lr_gamma: float | None = None
    step_lr_step_size: int | None = None
    training_batch_size: int | None = None
    validation_batch_size: int | None = None
    warmup_cosine_lr_cycles: float | None = None
    warmup_cosine_lr_warmup_epochs: int | None = None
    weight_decay: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassificationParameters(ImageParameters):
    """How a classifier is trained."""

    training_crop_size: int | None = None
    validation_crop_size: int | None = None
    validation_resize_size: int | None = None
    weighted_loss: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionParameters(ImageParameters):
    """How a detector is trained."""

    box_detections_per_image: int | None = None
    box_score_threshold: float | None = None
    image_size: int | None = None
    max_size: int | None = None
    min_size: int | None = None
    model_size: Annotated[ModelSize | None, Mark.CAMEL] = None
    multi_scale: bool | None = None
    nms_iou_threshold: float | None = None
    tile_grid_size: str | None = None
    tile_overlap_ratio: float | None = None
    tile_predictions_nms_threshold: float | None = None
    validation_iou_threshold: float | None = None
    validation_metric_type: Annotated[ValidationMetric | None, Mark.CAMEL] = None
    log_training_metrics: str | None = None
    log_validation_loss: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSpace:
    """How a model is trained, searched: values or spaces."""

    ams_gradient: SearchedTruth = None
    augmentations: SearchedText = None
    beta1: SearchedReal = None
    beta2: SearchedReal = None
    distributed: SearchedTruth = None
    early_stopping: SearchedTruth = None
    early_stopping_delay: SearchedWhole = None
    early_stopping_patience: SearchedWhole = None
    evaluation_frequency: SearchedWhole = None
    enable_onnx_normalization: SearchedTruth = None
    gradient_accumulation_step: SearchedWhole = None
    layers_to_freeze: SearchedWhole = None
    learning_rate: SearchedReal = None
    learning_rate_scheduler: Annotated[Any, words(*get_args(Scheduler))] = None
    model_name: SearchedText = None
    momentum: SearchedReal = None
    nesterov: SearchedTruth = None
    number_of_epochs: SearchedWhole = None
    number_of_workers: SearchedWhole = None
    optimizer: Annotated[Any, words(*get_args(Optimizer))] = None
    random_seed: SearchedWhole = None
    step_lr_gamma: SearchedReal = None
    step_lr_step_size: SearchedWhole = None
    training_batch_size: SearchedWhole = None
    validation_batch_size: SearchedWhole = None
    warmup_cosine_lr_cycles: SearchedReal = None
    warmup_cosine_lr_warmup_epochs: SearchedWhole = None
    weight_decay: SearchedReal = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassificationSpace(ImageSpace):
    """How a classifier is trained, searched."""

    training_crop_size: SearchedWhole = None
    validation_crop_size: SearchedWhole = None
    validation_resize_size: SearchedWhole = None
    weighted_loss: SearchedWhole = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionSpace(ImageSpace):
    """How a detector is trained, searched."""

    box_detections_per_image: SearchedWhole = None
    box_score_threshold: SearchedReal = None
    image_size: SearchedWhole = None
    max_size: SearchedWhole = None
    min_size: SearchedWhole = None
    model_size: Annotated[Any, words(*get_args(ModelSize))] = None
    multi_scale: SearchedTruth = None
    nms_iou_threshold: SearchedReal = None
    tile_grid_size: SearchedText = None
    tile_overlap_ratio: SearchedReal = None
    tile_predictions_nms_threshold: SearchedReal = None
    validation_iou_threshold: SearchedReal = None
    validation_metric_type: Annotated[Any, words(*get_args(ValidationMetric))] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageJob(AutoMLJob):
    """A search for the best model on images."""

    limits: ImageLimits | None = None
    sweep: SweepSettings | None = None
    target_column_name: Annotated[str, "The column to predict."]
    test_data: Data = None
    test_data_size: float | None = None
    validation_data: Data = None
    validation_data_size: float | None = None

    def settle(self, place: Place, _: Mapping[str, Any]) -> ImageJob:
        check_data(place, self)
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageClassification(ImageJob):
    """The best classifier of images."""

    task: Annotated[Literal["image_classification"], Mark.SETTLED, Mark.CAMEL]
    primary_metric: Annotated[ClassificationMetric, Mark.CAMEL] = "accuracy"
    training_parameters: ClassificationParameters | None = None
    search_space: tuple[ClassificationSpace, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageMultilabel(ImageJob):
    """The best classifier of images into several classes each."""

    task: Annotated[Literal["image_classification_multilabel"], Mark.SETTLED, Mark.CAMEL]
    primary_metric: Annotated[MultilabelMetric, Mark.CAMEL] = "iou"
    training_parameters: ClassificationParameters | None = None
    search_space: tuple[ClassificationSpace, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectDetection(ImageJob):
    """The best finder of objects."""

    task: Annotated[Literal["image_object_detection"], Mark.SETTLED, Mark.CAMEL]
    primary_metric: Annotated[Literal["mean_average_precision"], Mark.CAMEL] = "mean_average_precision"
    training_parameters: DetectionParameters | None = None
    search_space: Annotated[tuple[DetectionSpace, ...], "Spaces, tried one after the other."] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceSegmentation(ImageJob):
    """The best finder of objects and their outlines."""

    task: Annotated[Literal["image_instance_segmentation"], Mark.SETTLED, Mark.CAMEL]
    primary_metric: Annotated[Literal["mean_average_precision"], Mark.CAMEL] = "mean_average_precision"
    training_parameters: DetectionParameters | None = None
    search_space: Annotated[tuple[DetectionSpace, ...], "Spaces, tried one after the other."] = ()

"""Monitors: signals about a model in service, measured again and again, with thresholds that call people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from jobs.files.ports import Input
from jobs.files.reading import Place
from jobs.files.record import Mark, NoEffect, Record
from jobs.files.references import Asset, Reference
from jobs.files.shapes import Anything, ByKind, Choice, Either, Many, Named, Number, Text

Context = Literal["model_inputs", "model_outputs", "training", "test", "validation", "ground_truth"]
Free = Annotated[Mapping[str, Any], Named(Anything(), key=Anything())]
INPUT = Either((Record(Input),))


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """Rows whose feature has one of some values."""

    feature_name: str | None = None
    feature_values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TopFeatures:
    """The most important features."""

    top_n_feature_importance: int = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Which time the data is of: from and to, or how long and how long ago."""

    window_start: str | None = None
    window_end: str | None = None
    lookback_window_size: str | None = None
    lookback_window_offset: str | None = None


def without_input(place: Place, data: Input | None) -> None:
    """Warn of data that is not said: it is what the deployment has collected."""
    if data is None:
        place.lenient("collected-data", "without `input_data` it is what the deployment has collected")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductionData:
    """Data of the model in service."""

    input_data: Annotated[Input | None, INPUT] = None
    data_context: Context | None = None
    pre_processing_component: str | None = None
    data_window: Window | None = None
    data_column_names: Mapping[str, str] = field(default_factory=dict)

    def settle(self, place: Place, _: Mapping[str, Any]) -> ProductionData:
        without_input(place, self.input_data)
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceData(ProductionData):
    """Data that is compared with."""

    target_column_name: Annotated[str | None, Mark.OURS] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NumericalDrift:
    """Thresholds of numbers that drift."""

    jensen_shannon_distance: float | None = None
    normalized_wasserstein_distance: float | None = None
    population_stability_index: float | None = None
    two_sample_kolmogorov_smirnov_test: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoricalDrift:
    """Thresholds of words that drift."""

    jensen_shannon_distance: float | None = None
    population_stability_index: float | None = None
    pearsons_chi_squared_test: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftThresholds:
    """Thresholds of drift."""

    threshold: float | None = None
    data_type: Literal["numerical", "categorical"] | None = None
    numerical: NumericalDrift | None = None
    categorical: CategoricalDrift | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityRates:
    """How much may be missing, of the wrong type, or out of bounds."""

    null_value_rate: float | None = None
    data_type_error_rate: float | None = None
    out_of_bounds_rate: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityThresholds:
    """Thresholds of quality."""

    threshold: float | None = None
    data_type: Literal["numerical", "categorical"] | None = None
    numerical: QualityRates | None = None
    categorical: QualityRates | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributionThreshold:
    """The threshold of attributions that drift."""

    threshold: float | None = None
    normalized_discounted_cumulative_gain: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierThresholds:
    """What a classifier must reach."""

    accuracy: float | None = None
    precision: float | None = None
    recall: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RegressorThresholds:
    """What a predictor of numbers may be off by."""

    # The package has a schema for these, and gives them to a class that calls them otherwise.
    mae: Annotated[float | None, Mark.OURS] = None
    mse: Annotated[float | None, Mark.OURS] = None
    rmse: Annotated[float | None, Mark.OURS] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PerformanceThresholds:
    """Thresholds of performance."""

    threshold: Annotated[float | None, Mark.OURS] = None
    classification: ClassifierThresholds | None = None
    regression: RegressorThresholds | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedThreshold:
    """A threshold of a metric by its name."""

    threshold: float | None = None
    metric_name: str


def _rates(kind: str) -> Named:
    words = (f"aggregated_{kind}_pass_rate", f"acceptable_{kind}_score_per_instance")
    return Named(Number(), key=Choice(words))


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationThresholds:
    """What answers must reach."""

    groundedness: Annotated[Mapping[str, float], _rates("groundedness")] = field(default_factory=dict)
    relevance: Annotated[Mapping[str, float], _rates("relevance")] = field(default_factory=dict)
    coherence: Annotated[Mapping[str, float], _rates("coherence")] = field(default_factory=dict)
    fluency: Annotated[Mapping[str, float], _rates("fluency")] = field(default_factory=dict)
    similarity: Annotated[Mapping[str, float], _rates("similarity")] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenThresholds:
    """How many tokens may be used."""

    totaltoken: Annotated[
        Mapping[str, float], Named(Number(), key=Choice(("total_token_count", "total_token_count_per_group")))
    ] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DataDrift:
    """Inputs that are no longer as they were."""

    type: Literal["data_drift"]
    production_data: ProductionData | None = None
    reference_data: ReferenceData | None = None
    metric_thresholds: DriftThresholds | None = None
    features: Annotated[
        Any, Either((Record(TopFeatures), Choice(("all_features",)), Many(Text())), "features"), "Which features."
    ] = None
    feature_type_override: Free = field(default_factory=dict)
    data_segment: Segment | None = None
    alert_enabled: bool = False
    properties: Free = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DataQuality:
    """Inputs that are missing or wrong."""

    type: Literal["data_quality"]
    production_data: ProductionData | None = None
    reference_data: ReferenceData | None = None
    metric_thresholds: QualityThresholds | None = None
    features: Annotated[
        Any, Either((Record(TopFeatures), Choice(("all_features",)), Many(Text())), "features"), "Which features."
    ] = None
    feature_type_override: Free = field(default_factory=dict)
    alert_enabled: bool = False
    properties: Free = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionDrift:
    """Outputs that are no longer as they were."""

    type: Literal["prediction_drift"]
    production_data: ProductionData | None = None
    reference_data: ReferenceData | None = None
    metric_thresholds: DriftThresholds
    alert_enabled: bool = False
    properties: Free = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributionData:
    """Data of the model in service, for attributions."""

    input_data: Annotated[Input | None, INPUT] = None
    data_context: Context | None = None
    data_column_names: Annotated[
        Mapping[str, str],
        Named(Text(), key=Choice(("prediction", "prediction_probability", "correlation_id"))),
    ] = field(default_factory=dict)
    pre_processing_component: str | None = None
    data_window: Window | None = None

    def settle(self, place: Place, _: Mapping[str, Any]) -> AttributionData:
        without_input(place, self.input_data)
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributionDrift:
    """Features whose weight is no longer as it was."""

    type: Literal["feature_attribution_drift"]
    production_data: tuple[AttributionData, ...] = ()
    reference_data: ReferenceData
    metric_thresholds: AttributionThreshold
    alert_enabled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Performance:
    """What the model reaches, by truth that comes later."""

    type: Literal["model_performance"]
    production_data: ProductionData
    reference_data: ReferenceData
    metric_thresholds: PerformanceThresholds
    data_segment: Segment | None = None
    alert_enabled: bool = False
    properties: Free = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalConnection:
    """What a component of one's own is given to connect."""

    environment_variables: Mapping[str, str] = field(default_factory=dict)
    secret_config: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomSignal:
    """What a component of one's own measures."""

    type: Literal["custom"]
    component_id: Annotated[Reference, Asset("components", latest=False, registry=False)]
    connection: SignalConnection | None = None
    metric_thresholds: tuple[NamedThreshold, ...]
    input_data: Mapping[str, ReferenceData] = field(default_factory=dict)
    inputs: Annotated[Mapping[str, Input], Named(INPUT)] = field(default_factory=dict)
    alert_enabled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LlmData:
    """What was asked and answered."""

    input_data: Annotated[Input | None, INPUT] = None
    data_column_names: Free = field(default_factory=dict)
    data_window: Window | None = None

    def settle(self, place: Place, _: Mapping[str, Any]) -> LlmData:
        without_input(place, self.input_data)
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationQuality:
    """Whether answers are grounded, relevant, coherent, fluent and as they should be."""

    type: Literal["generation_safety_quality"]
    production_data: tuple[LlmData, ...] = ()
    connection_id: str | None = None
    metric_thresholds: GenerationThresholds
    alert_enabled: bool = False
    properties: Free = field(default_factory=dict)
    sampling_rate: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenStatistics:
    """How many tokens are used."""

    type: Literal["generation_token_statistics"]
    production_data: LlmData | None = None
    metric_thresholds: TokenThresholds | None = None
    alert_enabled: bool = False
    properties: Free = field(default_factory=dict)
    sampling_rate: float | None = None


Signal = (
    DataDrift | DataQuality | PredictionDrift | AttributionDrift | Performance | CustomSignal | GenerationQuality
    | TokenStatistics
)  # fmt: skip
SIGNAL = ByKind(
    {
        "data_drift": Record(DataDrift),
        "data_quality": Record(DataQuality),
        "prediction_drift": Record(PredictionDrift),
        "feature_attribution_drift": Record(AttributionDrift),
        "model_performance": Record(Performance),
        "custom": Record(CustomSignal),
        "generation_safety_quality": Record(GenerationQuality),
        "generation_token_statistics": Record(TokenStatistics),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorCompute:
    """What would measure in the cloud."""

    compute_type: str | None = None
    instance_type: Annotated[str, NoEffect("it is measured on this machine")]
    runtime_version: Annotated[str, NoEffect("it is measured on this machine")]


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorTarget:
    """What is watched."""

    ml_task: Annotated[
        str | None, Choice(("classification", "regression", "questionanswering")), "What the model does."
    ] = None
    endpoint_deployment_id: Annotated[str | None, "azureml:ENDPOINT:DEPLOYMENT"] = None
    model_id: Annotated[Reference | None, Asset("models", latest=False, registry=False)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """Who is told."""

    emails: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Monitor:
    """What is watched, what is measured, and who is told."""

    compute: MonitorCompute
    monitoring_target: MonitorTarget | None = None
    monitoring_signals: Annotated[
        Mapping[str, Signal], Named(Either((SIGNAL,))), "What is measured; drift and quality where nothing is said."
    ] = field(default_factory=dict)
    alert_notification: Annotated[
        Alert | str | None, Either((Choice(("azmonitoring",)), Record(Alert)), "`azmonitoring` or `emails`")
    ] = None

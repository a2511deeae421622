"""AutoML jobs: what they have in common, and those on tables: classification, regression, forecasting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from jobs.files.command import Job
from jobs.files.nodes import NodeOutputs
from jobs.files.ports import Input, Output, Outputs
from jobs.files.reading import Place
from jobs.files.record import Mark, NoEffect, Record
from jobs.files.resources import QueueSettings, Resources
from jobs.files.shapes import Choice, Definitions, Either, Many, Named, Number, Schema, Text, Whole

CLASSIFIERS = (
    "logistic_regression", "sgd", "multinomial_naive_bayes", "bernoulli_naive_bayes", "svm", "linear_svm", "knn",
    "decision_tree", "random_forest", "extreme_random_trees", "light_gbm", "gradient_boosting", "xg_boost_classifier",
)  # fmt: skip
REGRESSORS = (
    "elastic_net", "gradient_boosting", "decision_tree", "knn", "lasso_lars", "sgd", "random_forest",
    "extreme_random_trees", "light_gbm", "xg_boost_regressor",
)  # fmt: skip
FORECASTERS = (
    "auto_arima", "prophet", "naive", "seasonal_naive", "average", "seasonal_average", "exponential_smoothing",
    "arimax", "tcn_forecaster", *REGRESSORS,
)  # fmt: skip
BLOCKED_TRANSFORMERS = (
    "text_target_encoder", "one_hot_encoder", "cat_target_encoder", "tf_idf", "wo_e_target_encoder", "label_encoder",
    "word_embedding", "naive_bayes", "count_vectorizer", "hash_one_hot_encoder",
)  # fmt: skip
META_LEARNERS = (
    "none", "logistic_regression", "logistic_regression_cv", "light_gbm_classifier", "elastic_net", "elastic_net_cv",
    "light_gbm_regressor", "linear_regression",
)  # fmt: skip

ClassificationMetric = Literal[
    "auc_weighted", "accuracy", "norm_macro_recall", "average_precision_score_weighted", "precision_score_weighted"
]
RegressionMetric = Literal[
    "normalized_root_mean_squared_error", "spearman_correlation", "r2_score", "normalized_mean_absolute_error"
]
Verbosity = Literal["not_set", "debug", "info", "warning", "error", "critical"]
AUTO_OR_WHOLE = Either((Choice(("auto",)), Whole()), "`auto` or a whole number")
NAMES = Either((Text(), Many(Text())), "a name or a list of names")


@dataclass(frozen=True, slots=True)
class TableShape:
    """A table to learn from: an MLTable, or what can be read as one; in a pipeline also an expression."""

    def read(self, place: Place, value: Any) -> Input | str:
        if place.bound != "no" and isinstance(value, str):
            return value
        if isinstance(value, Mapping) and "type" in value:
            Choice(("mltable",)).read(place.under("type"), value["type"])
        made: Input = Record(Input).read(place, {"type": "mltable", **value} if isinstance(value, Mapping) else value)
        return made

    def schema(self, definitions: Definitions) -> Schema:
        return {"anyOf": [{"type": "string"}, Record(Input).schema(definitions)]}


@dataclass(frozen=True, slots=True)
class AutoMLOutputs:
    """Outputs by name; in a pipeline they may be bound to the pipeline's."""

    def read(self, place: Place, value: Any) -> dict[str, Output]:
        return NodeOutputs().read(place, value) if place.bound != "no" else Outputs().read(place, value)

    def schema(self, definitions: Definitions) -> Schema:
        return NodeOutputs().schema(definitions)


Data = Annotated[Input | str | None, Either((TableShape(),)), "A table to learn from."]
NCross = Annotated[int | str | None, AUTO_OR_WHOLE, "Parts of cross-validation."]


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoMLJob(Job):
    """A search for the best model of a task."""

    ignored: ClassVar[tuple[str, ...]] = Job.ignored

    inline: Annotated[bool, Mark.HIDDEN] = True
    inputs: Annotated[Mapping[str, Any], Mark.HIDDEN] = field(default_factory=dict)
    type: Literal["automl"]
    training_data: Data = None
    environment_id: Annotated[str | None, NoEffect("the search runs in Studiolo's own Python")] = None
    environment_variables: Annotated[Mapping[str, str], "Variables of the search."] = field(default_factory=dict)
    outputs: Annotated[Mapping[str, Output], AutoMLOutputs(), "`best_model`, of type mlflow_model."] = field(
        default_factory=dict
    )
    resources: Resources | None = None
    queue_settings: QueueSettings | None = None
    log_verbosity: Annotated[Verbosity, Mark.CAMEL, "What the search writes down."] = "info"

    @property
    def key(self) -> str:
        """What the pipeline calls it, where it is a step."""
        return str(self.origin.steps[-1]) if self.origin.steps else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableLimits:
    """How many models are tried, and for how long."""

    enable_early_termination: Annotated[bool, "Whether it ends when nothing gets better."] = True
    exit_score: Annotated[float | None, "The score that is good enough."] = None
    max_concurrent_trials: Annotated[int | None, "How many at once."] = None
    max_cores_per_trial: Annotated[int | None, "Cores for one; -1 is all of them."] = None
    max_nodes: int | None = None
    max_trials: Annotated[int | None, "How many."] = None
    timeout_minutes: Annotated[int | None, "Minutes for all."] = None
    trial_timeout_minutes: Annotated[int | None, "Minutes for one."] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnTransformer:
    """How some columns are transformed."""

    fields: Annotated[tuple[str, ...], "The columns."] = ()
    parameters: Annotated[Mapping[str, Any], Named(Either((Number(), Text())), nullable=True)] = field(
        default_factory=dict
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Featurization:
    """What is made of the columns before a model sees them."""

    dataset_language: str | None = None
    mode: Literal["auto", "off", "custom"] = "auto"
    blocked_transformers: Annotated[tuple[str, ...], Many(Choice(BLOCKED_TRANSFORMERS, "camel"))] = ()
    column_name_and_types: Mapping[str, str] = field(default_factory=dict)
    transformer_params: Annotated[
        Mapping[str, tuple[ColumnTransformer, ...]],
        Named(Many(Record(ColumnTransformer)), key=Choice(("imputer", "tf_idf", "hash_one_hot_encoder"), "camel")),
    ] = field(default_factory=dict)
    enable_dnn_featurization: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StackEnsemble:
    """The model that is put on top of the others."""

    stack_meta_learner_type: Annotated[str | None, Choice(META_LEARNERS, "camel")] = None
    stack_meta_learner_kwargs: Annotated[Mapping[str, Any], Named(Text())] = field(default_factory=dict)
    stack_meta_learner_train_percentage: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """Which models are tried, and what comes of them."""

    enable_dnn_training: bool = False
    enable_model_explainability: bool | None = None
    enable_onnx_compatible_models: bool = False
    enable_stack_ensemble: bool | None = None
    enable_vote_ensemble: bool | None = None
    ensemble_model_download_timeout_minutes: int | None = None
    stack_ensemble_settings: StackEnsemble | None = None
    training_mode: Annotated[Literal["auto", "distributed", "non_distributed"] | None, Mark.CAMEL] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassificationTraining(Training):
    """Which classifiers are tried."""

    allowed_training_algorithms: Annotated[tuple[str, ...], Many(Choice(CLASSIFIERS, "camel"))] = ()
    blocked_training_algorithms: Annotated[tuple[str, ...], Many(Choice(CLASSIFIERS, "camel"))] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RegressionTraining(Training):
    """Which regressors are tried."""

    allowed_training_algorithms: Annotated[tuple[str, ...], Many(Choice(REGRESSORS, "camel"))] = ()
    blocked_training_algorithms: Annotated[tuple[str, ...], Many(Choice(REGRESSORS, "camel"))] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastingTraining(Training):
    """Which forecasters are tried."""

    allowed_training_algorithms: Annotated[tuple[str, ...], Many(Choice(FORECASTERS, "camel"))] = ()
    blocked_training_algorithms: Annotated[tuple[str, ...], Many(Choice(FORECASTERS, "camel"))] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecasting:
    """What the series are and how far is looked ahead."""

    time_column_name: Annotated[str | None, "The column of time."] = None
    forecast_horizon: Annotated[int | str | None, AUTO_OR_WHOLE, "Steps ahead."] = None
    time_series_id_column_names: Annotated[str | tuple[str, ...] | None, NAMES, "What tells the series apart."] = None
    frequency: Annotated[str | None, "The step, as pandas calls it."] = None
    target_lags: Annotated[
        int | str | tuple[int, ...] | None, Either((Choice(("auto",)), Whole(), Many(Whole())), "`auto` or numbers")
    ] = None
    target_rolling_window_size: Annotated[int | str | None, AUTO_OR_WHOLE] = None
    feature_lags: Literal["none", "auto"] | None = None
    seasonality: Annotated[int | str | None, AUTO_OR_WHOLE] = None
    short_series_handling_config: Literal["none", "auto", "pad", "drop"] | None = None
    use_stl: Annotated[str | None, Choice(("none", "season", "seasontrend"))] = None
    target_aggregate_function: Literal["none", "sum", "max", "min", "mean"] | None = None
    cv_step_size: int | None = None
    country_or_region_for_holidays: str | None = None
    features_unknown_at_forecast_time: Annotated[str | tuple[str, ...] | None, NAMES] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TableJob(AutoMLJob):
    """A search for the best model on a table."""

    target_column_name: Annotated[str, "The column to predict."]
    validation_data: Data = None
    validation_data_size: Annotated[float | None, "The part that is kept back to validate."] = None
    test_data: Data = None
    test_data_size: float | None = None
    cv_split_column_names: tuple[str, ...] = ()
    n_cross_validations: NCross = None
    weight_column_name: str | None = None
    limits: TableLimits | None = None
    featurization: Featurization | None = None

    def settle(self, place: Place, _: Mapping[str, Any]) -> TableJob:
        check_data(place, self)
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Classification(TableJob):
    """The best classifier of a table's rows."""

    task: Annotated[Literal["classification"], Mark.SETTLED, Mark.CAMEL]
    primary_metric: Annotated[ClassificationMetric, Mark.CAMEL] = "auc_weighted"
    positive_label: str | None = None
    training: ClassificationTraining | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Regression(TableJob):
    """The best predictor of a number."""

    task: Annotated[Literal["regression"], Mark.SETTLED, Mark.CAMEL]
    primary_metric: Annotated[RegressionMetric, Mark.CAMEL] = "normalized_root_mean_squared_error"
    training: RegressionTraining | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastingJob(TableJob):
    """The best forecaster of series."""

    task: Annotated[Literal["forecasting"], Mark.SETTLED, Mark.CAMEL]
    primary_metric: Annotated[RegressionMetric, Mark.CAMEL] = "normalized_root_mean_squared_error"
    training: ForecastingTraining | None = None
    forecasting: Forecasting | None = None


def check_data(place: Place, job: AutoMLJob) -> None:
    """Object where there is nothing to learn from."""
    if job.training_data is None:
        place.object("no-training-data", f"a job of type {job.type} needs `training_data`")

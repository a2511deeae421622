"""What a search is asked for: the settings of an AutoML job, whoever wrote them, with every default settled."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from workspace.errors import Invalid

if TYPE_CHECKING:
    from jobs.files.automl import AutoMLJob, Featurization, Forecasting

HOURS = 3600.0
CLASSIFICATION, REGRESSION, FORECASTING = "classification", "regression", "forecasting"
TEXT = ("text_classification", "text_classification_multilabel")
TASKS = (CLASSIFICATION, REGRESSION, FORECASTING, *TEXT)
DEFAULT_METRIC = {
    CLASSIFICATION: "auc_weighted",
    REGRESSION: "normalized_root_mean_squared_error",
    FORECASTING: "normalized_root_mean_squared_error",
    "text_classification": "accuracy",
    "text_classification_multilabel": "accuracy",
}
_WHAT_INSTEAD = {
    "text_ner": "fine-tune a token classifier: `studiolo finetune run` with the task tokenClassification",
    "image_classification": "write a command job with torch; detectors and image models need pretrained weights",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """What the file says of columns, in place of what would be guessed."""

    mode: str = "auto"
    blocked: tuple[str, ...] = ()
    purposes: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, tuple[tuple[tuple[str, ...], Mapping[str, Any]], ...]] = field(default_factory=dict)
    embeds: bool = False  # texts become vectors of the embedded model

    def of(self, transformer: str, column: str) -> dict[str, Any]:
        """Return the parameters of a transformer for a column; those that name no columns are of all."""
        found: dict[str, Any] = {}
        for names, values in self.parameters.get(transformer, ()):
            if not names or column in names:
                found |= values
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Horizon:
    """What the series are, and how far is looked ahead; 0 and empty texts are settled by the data."""

    time: str
    steps: int = 0
    series: tuple[str, ...] = ()
    frequency: str = ""
    lags: tuple[int, ...] = ()
    window: int = 0
    season: int = 0
    short: str = "auto"
    aggregate: str = ""
    step_between: int = 0
    decomposes: str = ""
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One search."""

    task: str
    target: str
    metric: str = ""
    seconds: float = 6 * HOURS
    trial_seconds: float = 0.5 * HOURS
    most_trials: int = 1000
    at_once: int = 1
    cores: int = 0  # of one trial; 0 shares those that there are
    good_enough: float | None = None
    gives_up: bool = True
    folds: int = 0
    holdout: float = 0.0
    split_columns: tuple[str, ...] = ()
    weight: str = ""
    positive: str = ""
    test_part: float = 0.0
    allowed: tuple[str, ...] = ()
    blocked: tuple[str, ...] = ()
    columns: Columns = Columns()
    votes: bool = True
    stacks: bool = True
    meta: str = ""
    meta_parameters: Mapping[str, Any] = field(default_factory=dict)
    explains: bool = True
    horizon: Horizon | None = None
    seed: int = 17

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise Invalid(f"AutoML of the task {self.task!r} cannot be run", hint=_instead(self.task))
        if not self.metric:
            object.__setattr__(self, "metric", DEFAULT_METRIC[self.task])
        if not 0 <= self.holdout < 1:
            raise Invalid(f"`validation_data_size` is a part between 0 and 1, not {self.holdout:g}")
        if both := sorted(set(self.allowed) & set(self.blocked)):
            raise Invalid(f"{both[0]!r} is both allowed and blocked")

    @property
    def classifies(self) -> bool:
        """Whether classes are predicted."""
        return self.task in (CLASSIFICATION, *TEXT)

    @property
    def threads(self) -> int:
        """How many threads one trial has."""
        there = len(os.sched_getaffinity(0))
        return min(there, self.cores) if self.cores > 0 else max(1, there // self.at_once)


def of_job(job: AutoMLJob) -> Wanted:
    """Return what the file of a job asks for; Invalid where nothing here can do it."""
    written: Any = job
    limits: Any = getattr(written, "limits", None)
    training: Any = getattr(written, "training", None)
    stack = getattr(training, "stack_ensemble_settings", None)
    return Wanted(
        task=str(written.task),
        target=_target(written),
        metric=str(written.primary_metric),
        seconds=_minutes(limits, "timeout_minutes", 360),
        trial_seconds=_minutes(limits, "trial_timeout_minutes", 30),
        most_trials=getattr(limits, "max_trials", None) or 1000,
        at_once=getattr(limits, "max_concurrent_trials", None) or 1,
        cores=getattr(limits, "max_cores_per_trial", None) or 0,
        good_enough=getattr(limits, "exit_score", None),
        gives_up=getattr(limits, "enable_early_termination", True),
        folds=_whole(getattr(written, "n_cross_validations", None)),
        holdout=getattr(written, "validation_data_size", None) or 0.0,
        split_columns=getattr(written, "cv_split_column_names", ()),
        weight=getattr(written, "weight_column_name", None) or "",
        positive=getattr(written, "positive_label", None) or "",
        test_part=getattr(written, "test_data_size", None) or 0.0,
        allowed=getattr(training, "allowed_training_algorithms", ()),
        blocked=getattr(training, "blocked_training_algorithms", ()),
        columns=_columns(getattr(written, "featurization", None)),
        votes=getattr(training, "enable_vote_ensemble", None) is not False,
        stacks=getattr(training, "enable_stack_ensemble", None) is not False,
        meta="" if stack is None or stack.stack_meta_learner_type in (None, "none") else stack.stack_meta_learner_type,
        meta_parameters=stack.stack_meta_learner_kwargs if stack else {},
        explains=getattr(training, "enable_model_explainability", None) is not False,
        horizon=_horizon(getattr(written, "forecasting", None), str(written.task)),
    )


def _target(job: Any) -> str:
    if not job.target_column_name:
        raise Invalid(f"a job of the task {job.task} needs `target_column_name`", hint=_instead(str(job.task)))
    return str(job.target_column_name)


def _columns(said: Featurization | None) -> Columns:
    if said is None or not hasattr(said, "mode"):
        return Columns()
    custom = said.mode == "custom"
    return Columns(
        mode=said.mode,
        blocked=said.blocked_transformers,
        purposes=said.column_name_and_types if custom else {},
        parameters={
            name: tuple((each.fields, each.parameters) for each in given)
            for name, given in (said.transformer_params if custom else {}).items()
        },
        embeds=said.enable_dnn_featurization,
    )


def _horizon(said: Forecasting | None, task: str) -> Horizon | None:
    if task != FORECASTING:
        return None
    if said is None or not said.time_column_name:
        raise Invalid("forecasting needs `forecasting.time_column_name`: the column that says when")
    if said.country_or_region_for_holidays:
        hint = "leave it out, or bring a column that says which days are holidays"
        raise Invalid("no calendar of holidays is installed here", hint=hint)
    lags = said.target_lags
    return Horizon(
        time=said.time_column_name,
        steps=_whole(said.forecast_horizon),
        series=_names(said.time_series_id_column_names),
        frequency=said.frequency or "",
        lags=lags if isinstance(lags, tuple) else (lags,) if isinstance(lags, int) else (),
        window=_whole(said.target_rolling_window_size),
        season=_whole(said.seasonality),
        short=said.short_series_handling_config or "auto",
        aggregate="" if said.target_aggregate_function in (None, "none") else str(said.target_aggregate_function),
        step_between=said.cv_step_size or 0,
        decomposes="" if said.use_stl in (None, "none") else str(said.use_stl),
        unknown=_names(said.features_unknown_at_forecast_time),
    )


def _names(said: str | tuple[str, ...] | None) -> tuple[str, ...]:
    return (said,) if isinstance(said, str) else said or ()


def _whole(said: int | str | None) -> int:
    """Return a number that may be `auto`, which is 0."""
    return said if isinstance(said, int) else 0


def _minutes(limits: Any, name: str, usual: float) -> float:
    said = getattr(limits, name, None)
    return 60.0 * (usual if said is None else said)


def _instead(task: str) -> str:
    return _WHAT_INSTEAD.get(task) or (_WHAT_INSTEAD["image_classification"] if "image" in task else ", ".join(TASKS))

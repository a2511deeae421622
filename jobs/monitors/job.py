"""A monitor as a job: its data is settled when it is submitted, and its process measures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from jobs.data.collected import asset_of
from jobs.files.command import Job
from jobs.files.monitor import (
    AttributionDrift,
    CustomSignal,
    DataDrift,
    DataQuality,
    GenerationQuality,
    LlmData,
    Monitor,
    Performance,
    PredictionDrift,
    Signal,
    TokenStatistics,
)
from jobs.files.ports import Input, Output
from jobs.files.record import Mark
from jobs.files.references import PREFIX, reference
from jobs.monitors import drift, quality
from jobs.parents import submit_parent
from workspace.errors import Invalid

if TYPE_CHECKING:
    from jobs.records import JobRecord
    from jobs.submit import Wishes
    from workspace.home import Workspace

KIND = "monitor"
MODEL_INPUTS, MODEL_OUTPUTS, REQUEST, RESPONSE = "model_inputs", "model_outputs", "request", "response"
Data = Any  # of one of the classes that hold production or reference data


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorJob(Job):
    """What a monitor does once. `at` is the moment that its windows end at, `size` how long they are by default."""

    type: Literal["monitor"] = "monitor"
    schedule: str
    monitor: Monitor
    at: float
    size: float
    inputs: Annotated[Mapping[str, Any], Mark.HIDDEN] = field(default_factory=dict)
    outputs: Annotated[Mapping[str, Output], Mark.HIDDEN] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Data that a signal reads: `key` names it among the job's inputs; `data` is what the file says, if anything.

    `is_collected` is true of what the deployment has collected: nobody named data.
    """

    key: str
    data: Data
    context: str
    is_collected: bool


def submit_monitor(workspace: Workspace, job: MonitorJob, wishes: Wishes | None = None) -> JobRecord:
    """Record one run of a monitor and begin it. Its data are its inputs, so that lineage knows of them."""
    return submit_parent(workspace, job, kind=KIND, module="jobs.monitors.conduct", wishes=wishes)


def with_inputs(workspace: Workspace, monitor: Monitor) -> dict[str, Input]:
    """Return the data of all signals as inputs of a job; what a deployment collects becomes an asset of its name."""
    found: dict[str, Input] = {}
    for name, signal in signals_of(monitor).items():
        for source in sources(signal):
            given = None if source.data is None else source.data.input_data
            if given is not None:
                found[f"{name}.{source.key}"] = _as_it_is(given)
            elif (asset := collected(workspace, monitor, source.context)) is not None:
                found[f"{name}.{source.key}"] = Input(type="uri_folder", path=f"{PREFIX}{asset}", mode="direct")
    return found


def signals_of(monitor: Monitor) -> Mapping[str, Signal]:
    """Return what is measured: what the file says, else what Azure ML measures of such a model."""
    if monitor.monitoring_signals:
        return monitor.monitoring_signals
    alerts = monitor.alert_notification is not None
    target = monitor.monitoring_target
    if target is not None and (target.ml_task or "").replace("_", "").lower() == "questionanswering":
        return {
            "generation_token_statistics": TokenStatistics(type="generation_token_statistics", alert_enabled=alerts)
        }
    return {
        "data_drift": DataDrift(
            type="data_drift", metric_thresholds=drift.DEFAULTS, features="all_features", alert_enabled=alerts
        ),
        "prediction_drift": PredictionDrift(
            type="prediction_drift", metric_thresholds=drift.DEFAULTS, alert_enabled=alerts
        ),
        "data_quality": DataQuality(
            type="data_quality", metric_thresholds=quality.DEFAULTS, features="all_features", alert_enabled=alerts
        ),
    }


def sources(signal: Signal) -> Iterator[Source]:
    """Yield the data that a signal reads."""
    if isinstance(signal, CustomSignal):
        for key, each in signal.input_data.items():
            yield _source(f"input_data.{key}", each, MODEL_INPUTS)
        return
    if isinstance(signal, GenerationQuality):
        given = signal.production_data or (LlmData(),)
        if len(given) == 1 and given[0].input_data is None:  # what was asked and what was answered, as it was collected
            given = (given[0], given[0])
        for number, part in enumerate(given):
            usual = MODEL_INPUTS if len(given) > 1 and not number else MODEL_OUTPUTS
            yield _source(f"production_data.{number}", part, usual)
        return
    if isinstance(signal, TokenStatistics):
        yield _source("production_data", signal.production_data, RESPONSE)
        return
    if isinstance(signal, AttributionDrift):
        for number, data in enumerate(signal.production_data or (None, None)):
            yield _source(f"production_data.{number}", data, (MODEL_INPUTS, MODEL_OUTPUTS)[min(number, 1)])
        yield _source("reference_data", signal.reference_data, MODEL_INPUTS)
        return
    usual = MODEL_OUTPUTS if isinstance(signal, PredictionDrift | Performance) else MODEL_INPUTS
    yield _source("production_data", signal.production_data, usual)
    yield _source("reference_data", signal.reference_data, usual)


def target_of(monitor: Monitor) -> tuple[str, str] | None:
    """Return the endpoint and the deployment that are watched."""
    said = monitor.monitoring_target.endpoint_deployment_id if monitor.monitoring_target else None
    if not said:
        return None
    endpoint, _, deployment = said.removeprefix(PREFIX).partition(":")
    if not endpoint or not deployment:
        raise Invalid(f"`endpoint_deployment_id` cannot be {said!r}", hint="azureml:ENDPOINT:DEPLOYMENT")
    return endpoint, deployment


def collected(workspace: Workspace, monitor: Monitor, context: str) -> str | None:
    """Return the asset of what a deployment collects, by name and version; None where no deployment is watched."""
    target = target_of(monitor)
    if target is None:
        return None
    asset = asset_of(workspace, *target, context)
    return f"{asset.name}:{asset.version}"


def _source(key: str, data: Data, usual: str) -> Source:
    context = getattr(data, "data_context", None) or usual
    is_collected = data is None or data.input_data is None
    return Source(key=key, data=data, context=str(context), is_collected=is_collected)


def _as_it_is(given: Input) -> Input:
    """Return an input that is read where it is, if it has a name; a path of this machine is kept as it is now."""
    return replace(given, mode="direct") if reference(given.path) is not None else replace(given, mode=None)

"""From a signal as a file says it to what was found: one function for each type."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from jobs.files.monitor import (
    AttributionDrift,
    CustomSignal,
    DataDrift,
    DataQuality,
    GenerationQuality,
    Performance,
    PredictionDrift,
    Signal,
    TokenStatistics,
)
from jobs.files.plain import plain
from jobs.monitors import components, frames, generation, job
from jobs.monitors.attribution import attribution, most_important
from jobs.monitors.drift import drift
from jobs.monitors.features import Feature, chosen, common, need_rows, target_of, top
from jobs.monitors.frames import HIDDEN, Frame
from jobs.monitors.measures import FAILED, SKIPPED, Found, Result, Skip
from jobs.monitors.performance import performance
from jobs.monitors.quality import quality
from jobs.monitors.sides import Sides, columns_of, judge_of, task_of
from workspace.errors import Invalid, StudioloError

PRODUCTION, REFERENCE = "production_data", "reference_data"
Given = Mapping[str, Frame]


def measure(sides: Sides, name: str, signal: Signal) -> Result:
    """Measure one signal; what keeps it from that is in the result, so that the others go on."""
    alerts = bool(getattr(signal, "alert_enabled", False))
    given: Given = {}
    try:
        given = sides.of(name, signal)
        found = _WAYS[signal.type](sides, name, signal, given)
    except (Skip, StudioloError) as problem:
        hint = getattr(problem, "hint", None)
        why = f"{problem}; {hint}" if hint else str(problem)
        status = SKIPPED if isinstance(problem, Skip) else FAILED
        return Result(signal=name, type=signal.type, status=status, why=why, alerts=alerts, sides=_told(given))
    notes = [*found.notes, *(f"{each.source}: {each.note}" for each in given.values() if each.note)]
    found = Found(measures=found.measures, shapes=found.shapes, notes=notes)
    return Result(signal=name, type=signal.type, alerts=alerts, found=found, sides=_told(given))


def _data_drift(sides: Sides, _: str, signal: Signal, given: Given) -> Found:
    said = cast("DataDrift", signal)
    features, notes = _features(sides, said, given)
    found = drift(sides.database, given[REFERENCE], given[PRODUCTION], features, said.metric_thresholds)
    return Found(measures=found.measures, shapes=found.shapes, notes=[*found.notes, *notes])


def _data_quality(sides: Sides, _: str, signal: Signal, given: Given) -> Found:
    said = cast("DataQuality", signal)
    features, notes = _features(sides, said, given)
    found = quality(sides.database, given[REFERENCE], given[PRODUCTION], features, said.metric_thresholds)
    return Found(measures=found.measures, notes=[*found.notes, *notes])


def _prediction_drift(sides: Sides, _: str, signal: Signal, given: Given) -> Found:
    said = cast("PredictionDrift", signal)
    production, reference = given[PRODUCTION], given[REFERENCE]
    need_rows(production, reference)
    names, before = columns_of(said.production_data), columns_of(said.reference_data)
    answers = [names[key] for key in ("prediction", "prediction_probability") if key in names]
    target = before.get("prediction") or target_of(said.reference_data)
    visible = [name for name in production.columns if name not in HIDDEN]
    answer = answers[0] if answers else visible[0] if len(visible) == 1 else None
    if target and answer and target != answer:  # what was trained for has another name than what is answered
        reference = frames.renamed(sides.database, reference, sides.table(), target, answer)
    features = common(reference, production, overrides={}, apart=_apart(said))
    features = [each for each in features if not answers or each.name in answers]
    if not features:
        raise Skip(
            f"{production.source} and {reference.source} have no column in common; say data_column_names.prediction"
        )
    return drift(sides.database, reference, production, features, said.metric_thresholds)


def _attribution(sides: Sides, _: str, signal: Signal, given: Given) -> Found:
    said = cast("AttributionDrift", signal)
    reference = given[REFERENCE]
    parts = [frame for key, frame in given.items() if key != REFERENCE]
    need_rows(reference, *parts)
    production = parts[0]
    for other in parts[1:]:
        production = frames.joined(sides.database, sides.table(), production, other)
    need_rows(production)
    target = target_of(said.reference_data) or columns_of(said.reference_data).get("prediction")
    if target is None:
        raise Invalid("the reference does not say what it is trained for", hint="data_column_names: {target_column: …}")
    names = {key: value for each in said.production_data for key, value in columns_of(each).items()}
    answer = names.get("prediction") or (target if target in production.columns else frames.ANSWER)
    apart = [*_apart(said), target, answer, *names.values()]
    features = common(reference, production, overrides={}, apart=apart)
    ends = ((reference, target), (production, answer))
    return attribution(sides.database, ends, features, said.metric_thresholds, task=task_of(sides.monitor))


def _performance(sides: Sides, _: str, signal: Signal, given: Given) -> Found:
    said = cast("Performance", signal)
    need_rows(given[PRODUCTION], given[REFERENCE])
    truths = dict(columns_of(said.reference_data))
    if target := target_of(said.reference_data):
        truths.setdefault("actual", target)
    names = (columns_of(said.production_data), truths)
    ends = (given[PRODUCTION], given[REFERENCE])
    return performance(sides.database, ends, names, said.metric_thresholds, task=task_of(sides.monitor))


def _generation(sides: Sides, _: str, signal: Signal, given: Given) -> Found:
    said = cast("GenerationQuality", signal)
    parts = list(given.values())
    need_rows(*parts)
    frame = parts[0]
    for other in parts[1:]:
        frame = frames.joined(sides.database, sides.table(), frame, other)
    connection, model = judge_of(sides, said.connection_id, said.properties)
    names = {key: value for each in said.production_data for key, value in columns_of(each).items()}
    return generation.quality(sides.database, frame, names, said, generation.judge(connection, model))


def _tokens(sides: Sides, _: str, signal: Signal, given: Given) -> Found:
    said = cast("TokenStatistics", signal)
    target, span = job.target_of(sides.monitor), given[PRODUCTION].span
    is_collected = said.production_data is None or said.production_data.input_data is None
    if not given[PRODUCTION].rows and is_collected and target and span:
        return generation.served(sides.family.workspace, "/".join(target), span, said)
    need_rows(given[PRODUCTION])
    return generation.tokens(sides.database, given[PRODUCTION], columns_of(said.production_data), said)


def _custom(sides: Sides, name: str, signal: Signal, given: Given) -> Found:
    said = cast("CustomSignal", signal)
    laid: dict[str, Any] = {key.partition(".")[2]: sides.laid(f"{name}.{key}", frame) for key, frame in given.items()}
    return components.custom(
        sides.family, name, said, {**laid, **{key: plain(each) for key, each in said.inputs.items()}}
    )


def _features(sides: Sides, signal: DataDrift | DataQuality, given: Given) -> tuple[list[Feature], list[str]]:
    """Return the features that a signal measures, and what is to be said of the choice."""
    production, reference = given[PRODUCTION], given[REFERENCE]
    need_rows(production, reference)
    found = common(reference, production, overrides=signal.feature_type_override, apart=_apart(signal))
    if not found:
        raise Skip(f"{production.source} and {reference.source} have no column in common")
    is_training = getattr(signal.reference_data, "data_context", None) == "training"
    target = target_of(signal.reference_data)
    count = top(signal.features, is_training=is_training and target is not None)
    if count is None:
        return chosen(found, signal.features), []
    if target is None:
        return found, ["all features are measured: the reference names no target_column to know the important ones by"]
    return most_important(sides.database, reference, found, target, count=count), []


def _apart(signal: Any) -> Sequence[str]:
    """Return the columns of both sides that are no features: they join, or are answers, or times."""
    found = []
    production = signal.production_data if isinstance(signal.production_data, tuple) else (signal.production_data,)
    for data in (*production, signal.reference_data):
        names = columns_of(data)
        found += [names[key] for key in ("correlation_id", "timestamp") if key in names]
        if not isinstance(signal, PredictionDrift):
            found += [names[key] for key in ("prediction", "prediction_probability", "target_column") if key in names]
            found += [each] if (each := target_of(data)) else []
    return found


def _told(given: Given) -> dict[str, dict[str, Any]]:
    return {key: frame.plain() for key, frame in given.items()}


_WAYS: Mapping[str, Callable[[Sides, str, Signal, Given], Found]] = {
    "data_drift": _data_drift,
    "data_quality": _data_quality,
    "prediction_drift": _prediction_drift,
    "feature_attribution_drift": _attribution,
    "model_performance": _performance,
    "generation_safety_quality": _generation,
    "generation_token_statistics": _tokens,
    "custom": _custom,
}

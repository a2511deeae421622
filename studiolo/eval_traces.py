"""Samples of evaluations in MLflow: a trace each, and its scores and right answer as assessments of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from evals import samples as logs
from evals import traces as lines
from evals.samples import LOG, Sample
from studiolo import traces
from workspace import RunRecord, Workspace, tracking
from workspace.errors import Unavailable
from workspace.paths import locked, write_atomically

if TYPE_CHECKING:
    from flows.otel import Origin
    from flows.results import LineRecord

MOST = 1_000  # samples of one run; those with errors and low scores come first, and all stay in its log
_MARK = ".in-mlflow"
_SOURCE = "studiolo"


def carry(workspace: Workspace, *, runs: int = 20) -> int:
    """Bring the samples of evaluations that have ended into MLflow, of so many runs at one look; return how many."""
    waiting = [record for record in workspace.runs.list(kind="eval", limit=1_000) if _is_new(record)][:runs]
    return sum(_carried(workspace, record) for record in waiting)


def _is_new(record: RunRecord) -> bool:
    log, mark = record.directory / LOG, record.directory / _MARK
    if not record.ended or not log.exists():
        return False
    return not mark.exists() or mark.read_text() != str(log.stat().st_size)


def _carried(workspace: Workspace, record: RunRecord) -> int:
    size = (record.directory / LOG).stat().st_size
    with locked(workspace.home / "mlflow.lock"):
        chosen = list(_chosen(record))
        for _ in traces.send(workspace, (told for told, _ in chosen), to="mlflow"):
            pass
        store = tracking.store_of(workspace)
        for (origin, line), sample in chosen:
            _assess(store, origin, line, sample)
        write_atomically(record.directory / _MARK, str(size))
    return len(chosen)


def _chosen(record: RunRecord) -> Iterator[tuple[tuple[Origin, LineRecord], Sample]]:
    """Yield samples with their lines, the worst first."""
    from flows.otel import Origin

    found = list(zip(lines.lines(record), logs.read(record.directory), strict=True))
    for line, sample in sorted(found, key=lambda each: _worth(each[1]))[:MOST]:
        origin = Origin(
            id=f"{record.run_id}/{line.number}/{sample.at or 0}", flow=str(record.params.get("task") or record.name),
            digest=str(record.params.get("task_digest") or ""), kind="batch",
            started_at=sample.at or record.started_at, duration=line.duration, run_id=record.run_id,
        )  # fmt: skip
        yield (origin, line), sample


def _worth(sample: Sample) -> float:
    values = [score.value for score in sample.scores.values() if score.value is not None]
    return -1.0 if logs.is_error(sample) or not values else sum(values) / len(values)


def _assess(store: Any, origin: Origin, line: LineRecord, sample: Sample) -> None:
    """Say in MLflow what scorers said; what it knows already is not said twice."""
    from mlflow.entities import AssessmentSource, Expectation, Feedback
    from mlflow.entities.assessment import AssessmentError
    from mlflow.exceptions import MlflowException

    from flows import otel

    trace = f"tr-{otel.trace_id(origin, line).hex()}"
    source = AssessmentSource(source_type="CODE", source_id=_SOURCE)
    try:
        known = {each.name for each in store.get_trace_info(trace).assessments}
        for name, score in sample.scores.items():
            if name in known:
                continue
            error = None if score.error is None else AssessmentError("SCORER", score.error[:1_000])
            store.create_assessment(Feedback(name=name, value=score.value, error=error, source=source, trace_id=trace))
        if sample.expected is not None and "expected" not in known:
            told = AssessmentSource(source_type="HUMAN", source_id="data")
            store.create_assessment(Expectation(name="expected", value=sample.expected, source=told, trace_id=trace))
    except MlflowException as error:
        raise Unavailable(f"MLflow takes no assessments: {error}", hint="they stay where they are") from error

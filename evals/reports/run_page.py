"""A run of a task as one self-contained page: each metric with its interval, and the samples, the worst first."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from evals import results
from evals.metrics import Metric
from evals.samples import Sample, as_text, is_error
from workspace import RunRecord
from workspace.paper import template

LONGEST = 20_000  # characters of one text
SHORTEST = 200  # of what stands in a row before it is opened


def page(record: RunRecord) -> str:
    """Return a run as a page that needs nothing else and runs nothing."""
    result = results.read(record)
    scorers = list(dict.fromkeys(name for each in result.samples for name in each.scores))
    rows = [_row(each) for each in _worst_first(result.samples)]
    html: str = _template().render(
        record=record,
        metrics=result.metrics,
        rows=rows,
        scorers=scorers,
        errors=len(result.errors),
        in_unit=_in_unit,
    )
    return html


def _row(each: Sample) -> dict[str, Any]:
    return {
        "label": each.label if each.epoch == 1 else f"{each.label} #{each.epoch}",
        "values": {name: score.value for name, score in each.scores.items()},
        "error": is_error(each),
        "question": as_text(next(iter(each.inputs.values()), ""))[:SHORTEST],
        "answer": (each.error or each.answer or "")[:SHORTEST],
        "said": [(who, what[:LONGEST]) for who, what in results.transcript(each)],
    }


def _in_unit(metric: Metric) -> bool:
    """Whether a metric can be drawn between 0 and 1."""
    return metric.interval.low >= 0 and metric.interval.high <= 1


def _worst_first(samples: Sequence[Sample]) -> list[Sample]:
    def worth(each: Sample) -> tuple[float, int]:
        values = [score.value for score in each.scores.values() if score.value is not None]
        return (sum(values) / len(values) if values else -1.0), each.number

    return sorted(samples, key=worth)


@cache
def _template() -> Any:
    return template("evals.reports", "run.html.jinja2")

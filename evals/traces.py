"""The samples of a run as lines with nodes: what asked, what answered and what judged, as flows tell their traces."""

from __future__ import annotations

from collections.abc import Iterator

from evals import samples as logs
from evals.samples import Sample
from flows.results import COMPLETED, FAILED, LOG, LineRecord, NodeRecord, last_lines
from workspace import RunRecord


def lines(record: RunRecord) -> Iterator[LineRecord]:
    """Yield a line for each sample, numbered by row and repeat; of a flow its own nodes, then the scorers."""
    found = logs.read(record.directory)
    repeats = max((each.epoch for each in found), default=1)
    log = record.directory / LOG
    of_flow = {line.number: line for line in last_lines(log)} if log.exists() else {}
    for each in found:
        number = each.number * repeats + each.epoch - 1
        inside = of_flow.get(number)
        yield line_of(each, number, inside.nodes if inside is not None else None)


def line_of(each: Sample, number: int, nodes: tuple[NodeRecord, ...] | None = None) -> LineRecord:
    """Return a sample as a line; `nodes` are what happened inside the flow that answered."""
    began, took = each.at or 0.0, each.seconds or 0.0
    asked = NodeRecord(
        name=each.model or "target", type="llm", status=FAILED if each.error else COMPLETED,
        inputs={"messages": each.asked} if isinstance(each.asked, list) else {"asked": each.asked},
        output=each.answer, error=each.error, started_at=began, ended_at=began + took, tokens=each.tokens or (0, 0),
        model=each.model, cost=each.cost,
    )  # fmt: skip
    judged = tuple(
        NodeRecord(
            name=name, type="scorer", status=COMPLETED if score.error is None else FAILED,
            inputs={"answer": each.answer, "expected": each.expected}, error=score.error,
            output={"value": score.value, **score.details}, started_at=began + took, ended_at=began + took,
        )
        for name, score in each.scores.items()
    )  # fmt: skip
    return LineRecord(
        number=number, status=FAILED if each.error else COMPLETED, inputs=each.inputs,
        outputs=None if each.answer is None else {"answer": each.answer, **each.outputs}, error=each.error,
        nodes=((asked,) if nodes is None else nodes) + judged, duration=took,
    )  # fmt: skip

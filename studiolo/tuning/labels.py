"""What people said of answers: a rating, or the answer that would have been right. Their word goes before the model's.

It comes from a file (an export of labels, or one that somebody keeps), from assessments in MLflow, and from `/feedback`
of served flows. A label names a request, or its trace.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows import data as files
from flows.line_trace import PARENT
from flows.serve import log as serve_log
from workspace.errors import Invalid

if TYPE_CHECKING:
    from studiolo.tuning.logged import Logged
    from workspace.home import Workspace

MLFLOW = "mlflow"
_IDS = ("request_id", "id", "trace_id", "trace", "row", "correlationid")
_RATINGS = ("rating", "score", "label", "feedback", "thumbs", "vote", "value")
_CORRECTIONS = ("correction", "corrected", "expected", "ideal", "answer", "response")
_WORDS = {
    "true": 1.0, "good": 1.0, "yes": 1.0, "up": 1.0, "thumbs_up": 1.0, "correct": 1.0, "positive": 1.0, "like": 1.0,
    "false": 0.0, "bad": 0.0, "no": 0.0, "down": 0.0, "thumbs_down": 0.0, "incorrect": 0.0, "wrong": 0.0,
    "negative": 0.0, "dislike": 0.0,
}  # fmt: skip
_TRACE = re.compile(r"(?:tr-)?([0-9a-f]{32})")


@dataclass(frozen=True, slots=True)
class Label:
    """A rating as a number (good is 1, bad is 0, or on the labeller's own scale), and the right answer if one is given.

    `Label(0.0, "Oslo")` says that the answer was bad, and what it should have been.
    """

    rating: float | None = None
    correction: str | None = None


Labels = Mapping[str, Label]


def of_file(path: Path) -> dict[str, Label]:
    """Read labels: rows with the id of a request, and a rating or a correction."""
    found: dict[str, Label] = {}
    for number, row in enumerate(files.rows(path), 1):
        id_ = _first(row, _IDS)
        label = _label(row)
        if id_ is None or label is None:
            missing = f"an id ({', '.join(_IDS[:4])})" if id_ is None else "a rating or a correction"
            raise Invalid(
                f"{path.name}: row {number} has no {missing}", hint=f"its columns: {', '.join(map(str, row))}"
            )
        found[_key(str(id_))] = label
    return found


def of_feedback(workspace: Workspace) -> dict[str, Label]:
    """Return what was sent to `/feedback` of served flows, by trace."""
    found = {}
    for request in serve_log.served(workspace.home):
        match = PARENT.match(request.traceparent)
        label = _label(request.feedback) if request.feedback else None
        if match and label is not None:
            found[match["trace"]] = label
    return found


def of_mlflow(workspace: Workspace, logged: Iterable[Logged]) -> dict[str, Label]:
    """Return what people assessed in MLflow, by trace: feedback is a rating, an expectation the right answer."""
    from mlflow.exceptions import MlflowException

    from workspace import tracking

    store = tracking.store_of(workspace)
    found = {}
    for trace in {each.trace for each in logged if each.trace}:
        try:
            assessed = store.get_trace_info(f"tr-{trace}").assessments
        except MlflowException:
            continue  # it was not carried there: sampled out, or not yet
        human = [each for each in assessed if str(each.source.source_type).upper() == "HUMAN"]
        ratings = [rated for each in human if each.feedback and (rated := _rating(each.feedback.value)) is not None]
        right = [str(each.expectation.value) for each in human if each.expectation]
        if ratings or right:
            found[trace] = Label(ratings[-1] if ratings else None, right[-1] if right else None)
    return found


def of(labels: Labels, logged: Logged) -> Label | None:
    """Return what was said of a request, by its id or its trace."""
    return labels.get(logged.id) or (labels.get(logged.trace) if logged.trace else None)


def _label(row: Mapping[str, Any]) -> Label | None:
    rating, correction = _rating(_first(row, _RATINGS)), _first(row, _CORRECTIONS)
    if rating is None and not isinstance(correction, str):
        return None
    return Label(rating, correction if isinstance(correction, str) and correction.strip() else None)


def _rating(value: Any) -> float | None:
    if isinstance(value, bool | int | float):
        return float(value)
    if not isinstance(value, str):
        return None
    word = value.strip().casefold().replace(" ", "_")
    if word in _WORDS:
        return _WORDS[word]
    try:
        return float(word)
    except ValueError:
        return None


def _first(row: Mapping[str, Any], names: Iterable[str]) -> Any:
    return next((row[name] for name in names if row.get(name) not in (None, "")), None)


def _key(id_: str) -> str:
    match = _TRACE.fullmatch(id_)
    return match[1] if match else id_

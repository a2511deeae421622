"""Samples: one row with its answer and scores, and the log of one JSON line each that a scored run leaves behind."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from workspace.errors import Invalid, Location, NotFound

LOG = "samples.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What one scorer says of one answer. No value means it could not say: an error, never a wrong answer."""

    value: float | None = None
    error: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A row of the data, the answer a run gave to it, and how the answer scored.

    `row` names the row by its content, so that two runs over the same data find each other's rows; `name` is the id
    that its author gave it. `inputs` are what was asked, `error` is why there is no answer: the endpoint's fault, never
    a wrong answer. `outputs` are what came beside the answer (`contexts`, `tool_calls`, `logprobs`, a flow's outputs),
    `metadata` the row's further columns (slices, `choices`, `contexts`, `tests`), `cluster` what rows belong together,
    `epoch` counts the repeats of a row from 1. `tokens` are those asked and answered, `cost` is in the prices' unit.
    """

    number: int
    row: str
    inputs: Mapping[str, Any]
    name: str | None = None
    answer: str | None = None
    expected: str | None = None
    error: str | None = None
    scores: Mapping[str, Score] = field(default_factory=dict)
    outputs: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    cluster: str | None = None
    epoch: int = 1
    seconds: float | None = None
    tokens: tuple[int, int] | None = None
    cost: float | None = None
    trace: str | None = None

    @property
    def label(self) -> str:
        """The row's own id where it has one, else its place in the file counted from 1."""
        return self.name or f"row {self.number + 1}"


def row_id(row: Mapping[str, Any]) -> str:
    """Return the name of a row: the first 16 digits of the hash of its content, whatever the order of its keys."""
    canonical = json.dumps(row, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def as_text(value: Any) -> str:
    """Return text as it is and anything else as JSON: `as_text(3) == "3"`."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def as_line(sample: Sample) -> str:
    """Return the log line of a sample."""
    return json.dumps(asdict(sample), ensure_ascii=True, separators=(",", ":"), default=str) + "\n"


def read(directory: Path) -> tuple[Sample, ...]:
    """Read the log of a scored run, in the order of its rows; a line cut short by a crash is left out."""
    path = directory / LOG
    try:
        with path.open(encoding="utf-8") as file:
            return tuple(sorted(_parse(file, path), key=lambda sample: sample.number))
    except FileNotFoundError:
        raise NotFound(f"no scores in {str(directory)!r}", hint="score the run: `studiolo eval score RUN`") from None


def _parse(lines: Iterable[str], path: Path) -> Iterator[Sample]:
    for count, line in enumerate(lines, start=1):
        if not line.endswith("\n"):
            return
        try:
            fields = json.loads(line)
            scores = {name: Score(**score) for name, score in fields.pop("scores").items()}
            yield Sample(**fields, scores=scores)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise Invalid(f"not a sample: {error}", at=Location(path, count)) from None

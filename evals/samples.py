"""Samples: one row with its answer and scores, and the log of one JSON line each that a scored run leaves behind."""

from __future__ import annotations

import gc
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import orjson

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
    `epoch` counts the repeats of a row from 1. `asked` is what the target was sent, messages or
    a text; `tokens` are those asked and answered, `cost` is in the prices' unit, `at` when it was asked, `model` who
    answered.
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
    asked: Any = None
    cluster: str | None = None
    epoch: int = 1
    seconds: float | None = None
    tokens: tuple[int, int] | None = None
    cost: float | None = None
    model: str | None = None
    at: float | None = None

    @property
    def label(self) -> str:
        """The row's own id where it has one, else its place in the file counted from 1."""
        return self.name or f"row {self.number + 1}"


def is_error(sample: Sample) -> bool:
    """Whether a sample has no answer, or a score that no scorer could give."""
    return sample.error is not None or any(score.value is None for score in sample.scores.values())


def row_id(row: Mapping[str, Any]) -> str:
    """Return the name of a row: the first 16 digits of the hash of its content, whatever the order of its keys."""
    canonical = json.dumps(row, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def as_text(value: Any) -> str:
    """Return text as it is and anything else as JSON: `as_text(3) == "3"`."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def whole(value: Any) -> Any:
    """Return a value whose texts every file and protocol takes: a half of a surrogate pair becomes U+FFFD."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, Mapping):
        return {whole(key): whole(each) for key, each in value.items()}
    return [whole(each) for each in value] if isinstance(value, list | tuple) else value


@contextmanager
def uncollected() -> Iterator[None]:
    """Let Python look for no garbage meanwhile: samples by the hundred thousand are none, and looking takes seconds."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def as_line(sample: Sample) -> str:
    """Return the log line of a sample."""
    return as_bytes(sample).decode()


def as_bytes(sample: Sample) -> bytes:
    """Return the log line of a sample as it is written."""
    try:
        return orjson.dumps(sample, default=str, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS)
    except TypeError:  # halves of pairs, and whole numbers beyond 64 bits
        return (json.dumps(asdict(sample), separators=(",", ":"), default=str) + "\n").encode()


def read(directory: Path) -> tuple[Sample, ...]:
    """Read the log of a scored run, in the order of its rows and their repeats, each as it was written last.

    A line cut short by a crash is left out, and halves of surrogate pairs are U+FFFD from here on.
    """
    path = directory / LOG
    try:
        with path.open("rb") as file:
            last = {(sample.number, sample.epoch): sample for sample in _parse(file, path)}
    except FileNotFoundError:
        raise NotFound(f"no scores in {str(directory)!r}", hint="score the run: `studiolo eval score RUN`") from None
    return tuple(last[place] for place in sorted(last))


def _parse(lines: Iterable[bytes], path: Path) -> Iterator[Sample]:
    for count, line in enumerate(lines, start=1):
        if not line.endswith(b"\n"):
            return
        try:
            yield _sample(_fields(line))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise Invalid(f"not a sample: {error}", at=Location(path, count)) from None


def _fields(line: bytes) -> dict[str, Any]:
    try:
        said = orjson.loads(line)
        return said if isinstance(said, dict) else dict(said)
    except ValueError:  # NaN, and halves of pairs
        return dict(whole(json.loads(line)))


def _sample(said: dict[str, Any]) -> Sample:
    said["scores"] = {name: Score(**score) for name, score in said["scores"].items()}
    if tokens := said.get("tokens"):
        said["tokens"] = (tokens[0], tokens[1])
    if said.keys() != _PLACES.keys():
        return Sample(**said)
    # A line that says all is put into place at once: what a frozen dataclass does instead takes more than reading it.
    sample = object.__new__(Sample)
    for name, put in _PLACES.items():
        put(sample, said[name])
    return sample


_PLACES: Mapping[str, Any] = {each.name: getattr(Sample, each.name).__set__ for each in fields(Sample)}

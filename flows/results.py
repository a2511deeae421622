"""What is known of a line and of its nodes once they have run: one JSON object a line in the run's log."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import orjson

LOG = "lines.jsonl"
COMPLETED, FAILED, BYPASSED, WAITING = "Completed", "Failed", "Bypassed", "Waiting"
_NUMBER = re.compile(rb'\{"number": ?(\d+)')
SCALARS = (str, int, float, bool, type(None))
_SCALARS = frozenset(SCALARS)  # asked for every value: faster than the tuple


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanRecord:
    """Something that happened inside a node: a traced function, a model call, a retrieval. Times are UTC seconds."""

    kind: str
    name: str
    inputs: Any = None
    output: Any = None
    error: str | None = None
    started_at: float = 0.0
    ended_at: float = 0.0
    tokens: tuple[int, int] = (0, 0)
    cost: float | None = None
    model: str | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    id: str = ""  # in the line's trace, where a server was told of it
    spans: tuple[SpanRecord, ...] = ()


@dataclass(slots=True, kw_only=True)  # not frozen: made for every node of every line, at a third of the time
class NodeRecord:
    """One node of one line. Times are UTC seconds, tokens (prompt, completion), `model` the asset that answered.

    `cost` is in US dollars, None where no price is known. `spans` is what happened inside.
    """

    name: str
    type: str
    status: str
    inputs: Mapping[str, Any] = field(default_factory=dict)
    output: Any = None
    error: str | None = None
    started_at: float = 0.0
    ended_at: float = 0.0
    tokens: tuple[int, int] = (0, 0)
    model: str | None = None
    cost: float | None = None
    spans: tuple[SpanRecord, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LineRecord:
    """One line: `number` counts the rows of the data from 0. A line that waits has nodes that a person must decide.

    `trace` is the id of its own trace, where a server was told of it.
    """

    number: int
    status: str
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any] | None
    error: str | None
    nodes: tuple[NodeRecord, ...]
    duration: float  # seconds
    trace: str = ""

    def summary(self) -> tuple[str, float, str | None, tuple[int, int], float | None, tuple[str, ...]]:
        """Return status, duration, error, tokens, cost and the models that answered."""
        tokens, costs, models = (0, 0), [], []
        for node in self.nodes:
            if node.tokens != (0, 0):
                tokens = (tokens[0] + node.tokens[0], tokens[1] + node.tokens[1])
            if node.cost is not None:
                costs.append(node.cost)
            if node.model:
                models.append(node.model)
        return self.status, self.duration, self.error, tokens, sum(costs) if costs else None, tuple(models)


def to_json(line: LineRecord) -> bytes:
    """Return a line of the log, with its line break. What JSON cannot say is written as its `repr`."""
    written = {
        "number": line.number,
        "status": line.status,
        "inputs": line.inputs,
        "outputs": line.outputs,
        "error": line.error,
        "nodes": [_fields(node) for node in line.nodes],
        "duration": round(line.duration, 6),
    }
    if line.trace:
        written["trace"] = line.trace
    try:
        text = orjson.dumps(written, option=_QUICKLY)
    except TypeError:  # a number or a text that it does not know, or no JSON at all
        return _slowly(written)
    # It says null for what is not a number.
    return text if text.count(b"null") == (line.error is None) else _slowly(written)


def from_json(text: bytes | str) -> LineRecord:
    """Read a line of the log again."""
    return line_from(json.loads(text))


def line_from(value: Mapping[str, Any]) -> LineRecord:
    """Read what is written of a line."""
    return LineRecord(**{**value, "nodes": tuple(node_from(node) for node in value["nodes"])})


def node_from(value: Mapping[str, Any]) -> NodeRecord:
    """Read what is written of a node."""
    return NodeRecord(**_read(value))


def node_fields(node: NodeRecord) -> dict[str, Any]:
    """Return what is written of a node; fields that say nothing are left out."""
    return _fields(node)


def plain(value: Any) -> Any:
    """Return a value as the log will say it, a copy that later changes cannot reach; what JSON cannot say as `repr`."""
    if type(value) in _SCALARS:
        return value
    if type(value) is dict and _is_flat(value):
        return value.copy()
    try:
        return json.loads(_encode(value))
    except (TypeError, ValueError, RecursionError):
        return repr(value)


def strict(value: Any) -> Any:
    """Return a value as JSON says it; raises TypeError or ValueError where JSON cannot."""
    if type(value) in _SCALARS:
        return value
    if type(value) is dict and _is_flat(value):
        return value.copy()
    return json.loads(json.dumps(value, default=_dataclass))


def read_log(path: Path) -> Iterator[LineRecord]:
    """Yield the lines of a log in the order in which they ended; a torn line is left out."""
    if not path.exists():
        return
    with path.open("rb") as log:
        for raw in log:
            if raw.endswith(b"\n") and raw.strip():
                yield from_json(raw)


def last_lines(path: Path) -> Iterator[LineRecord]:
    """Yield the lines of a log in line order; one that ran again once, as it ended last.

    Memory holds a place in the file per line, not the lines.
    """
    if not path.exists():
        return
    with path.open("rb") as log:
        for _, place in sorted(places(log).items()):
            log.seek(place)
            yield from_json(log.readline())


def places(log: BinaryIO) -> dict[int, int]:
    """Return where in the log each line's last record begins; a torn record counts for nothing."""
    found: dict[int, int] = {}
    place = log.seek(0)
    for raw in log:
        if raw.endswith(b"\n") and (number := _NUMBER.match(raw)):
            found[int(number[1])] = place
        place += len(raw)
    return found


def heal(path: Path) -> None:
    """Cut a torn last line off, so that what is appended begins on a line of its own."""
    if not path.exists():
        return
    with path.open("r+b") as log:
        content_end = log.seek(0, 2)
        position = content_end
        while position > 0:
            log.seek(position - 1)
            if log.read(1) == b"\n":
                break
            position -= 1
        if position != content_end:
            log.truncate(position)


def _slowly(written: dict[str, Any]) -> bytes:
    return (_encode(written) + "\n").encode("utf-8", "surrogatepass")


def _is_flat(value: dict[Any, Any]) -> bool:
    """Whether a mapping is of texts to texts, numbers and nothing else: JSON says it as it is."""
    return all(type(name) is str for name in value) and all(type(each) in _SCALARS for each in value.values())


def _is_plain(node: NodeRecord) -> bool:
    """Whether a node ran, ended well and asked no model, as most do: that is written the quickest way."""
    spent = node.spans or node.model or node.tokens != (0, 0) or node.cost is not None
    return not (spent or node.error) and node.started_at > 0


def _fields(record: NodeRecord | SpanRecord) -> dict[str, Any]:
    if type(record) is NodeRecord and _is_plain(record):
        return {
            "name": record.name, "type": record.type, "status": record.status, "inputs": record.inputs,
            "output": record.output, "started_at": record.started_at, "ended_at": record.ended_at,
        }  # fmt: skip
    written: dict[str, Any] = {}
    for name, default in _DEFAULTS[type(record)]:
        value = getattr(record, name)
        if value != default or name == "output":
            written[name] = [_fields(span) for span in value] if name == "spans" else value
    return written


def _read(value: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(value)
    if "tokens" in found:
        found["tokens"] = tuple(found["tokens"])
    if "spans" in found:
        found["spans"] = tuple(SpanRecord(**_read(span)) for span in found["spans"])
    return found


def _dataclass(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    raise TypeError(f"{type(value).__name__} is not JSON serializable")


def _shown(value: Any) -> Any:
    try:
        return _dataclass(value)
    except TypeError:
        return repr(value)


_DEFAULTS: dict[type, list[tuple[str, Any]]] = {
    record: [
        (each.name, each.default_factory() if each.default_factory is not dataclasses.MISSING else each.default)
        for each in dataclasses.fields(record)
    ]
    for record in (NodeRecord, SpanRecord)
}
_encode = json.JSONEncoder(ensure_ascii=False, default=_shown, separators=(",", ":")).encode
_QUICKLY = (
    orjson.OPT_APPEND_NEWLINE | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS
    | orjson.OPT_PASSTHROUGH_SUBCLASS
)  # fmt: skip

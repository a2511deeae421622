"""What is known of a line and of its nodes once they have run: one JSON object a line in the run's log."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

LOG = "lines.jsonl"
COMPLETED, FAILED, BYPASSED = "Completed", "Failed", "Bypassed"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRecord:
    """One node of one line. Times are UTC seconds, tokens (prompt, completion), `model` the asset that answered."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class LineRecord:
    """One line: `number` counts the rows of the data from 0."""

    number: int
    status: str
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any] | None
    error: str | None
    nodes: tuple[NodeRecord, ...]
    duration: float  # seconds


def to_json(line: LineRecord) -> bytes:
    """Return a line of the log, with its line break."""
    return (json.dumps(asdict(line), ensure_ascii=False, default=repr) + "\n").encode()


def from_json(text: bytes | str) -> LineRecord:
    """Read a line of the log again."""
    value = json.loads(text)
    nodes = tuple(NodeRecord(**{**node, "tokens": tuple(node["tokens"])}) for node in value.pop("nodes"))
    return LineRecord(**value, nodes=nodes)


def read_log(path: Path) -> Iterator[LineRecord]:
    """Yield the lines of a log in the order in which they ended; a torn last line is left out."""
    if not path.exists():
        return
    with path.open("rb") as log:
        for raw in log:
            if raw.endswith(b"\n") and raw.strip():
                yield from_json(raw)


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

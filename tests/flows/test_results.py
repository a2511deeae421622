"""The log of a run: whatever a line holds is read as it was written."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from flows.results import LineRecord, NodeRecord, SpanRecord, from_json, read_log, to_json

TEXTS = some.text(some.characters(exclude_categories=()))
VALUES = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats(allow_nan=False) | TEXTS,
    lambda inner: some.lists(inner, max_size=4) | some.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


def line(value: Any, *, error: str | None = None) -> LineRecord:
    span = SpanRecord(kind="llm", name="chat", inputs=value, output=value, started_at=1.5, ended_at=2.5, tokens=(7, 2))
    node = NodeRecord(name="ask", type="llm", status="Completed", inputs={"it": value}, output=value, spans=(span,))
    quick = NodeRecord(
        name="q", type="python", status="Completed", inputs={"it": value}, output=value, started_at=1.5, ended_at=2.25
    )
    return LineRecord(
        number=3, status="Completed", inputs={"it": value}, outputs={"it": value}, error=error, nodes=(node, quick),
        duration=0.25,
    )  # fmt: skip


@given(VALUES, some.none() | TEXTS)
def test_a_line_is_read_as_it_was_written(value: Any, error: str | None) -> None:
    written = to_json(line(value, error=error))
    assert from_json(written) == line(value, error=error)
    assert written.count(b"\n") == 1
    assert written.startswith(b'{"number":3,')


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_stays_what_it_is(value: float) -> None:
    read = from_json(to_json(line(value)))
    assert repr(read.outputs) == repr({"it": value})
    assert repr(read.nodes[1].output) == repr(value)


@pytest.mark.parametrize("value", [2**64, -(2**200), "half \ud83d of a pair", [[[None]]], {"null": "null"}])
def test_what_few_writers_know_is_kept(value: Any) -> None:
    assert from_json(to_json(line(value))).outputs == {"it": value}


def test_what_json_cannot_say_is_shown() -> None:
    assert json.loads(to_json(line(Path("/here"))))["outputs"] == {"it": "PosixPath('/here')"}


def test_a_torn_line_counts_for_nothing(tmp_path: Path) -> None:
    log = tmp_path / "lines.jsonl"
    log.write_bytes(to_json(line("whole")) + to_json(line("torn"))[:-9])
    assert [each.inputs["it"] for each in read_log(log)] == ["whole"]

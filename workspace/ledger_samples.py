"""Tables over the logs of evaluations: a row for each sample as it was written last, and one for each of its scores."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

LOG = "samples.jsonl"
NAMES = ("eval_items", "eval_scores")
_PART = 2_000  # samples that are written together

SCHEMA = """
CREATE TABLE eval_items (
    log VARCHAR, run_id VARCHAR, number BIGINT, epoch BIGINT, name VARCHAR, row_id VARCHAR, cluster VARCHAR,
    answer VARCHAR, expected VARCHAR, error VARCHAR, model VARCHAR, asked_at TIMESTAMP, duration DOUBLE,
    prompt_tokens BIGINT, completion_tokens BIGINT, cost DOUBLE, inputs JSON, outputs JSON, metadata JSON
);
CREATE TABLE eval_scores (
    log VARCHAR, run_id VARCHAR, number BIGINT, epoch BIGINT, scorer VARCHAR, value DOUBLE, error VARCHAR, details JSON
);
"""

Rows = dict[str, list[tuple[Any, ...]]]


def read(path: Path, log: str) -> Iterator[Rows]:
    """Yield the rows of one log, some at a time."""
    run_id = path.parent.name
    last: dict[tuple[int, int], Mapping[str, Any]] = {}
    with path.open("rb") as file:
        for raw in file:
            try:
                sample = _fields(raw)
                last[sample["number"], sample.get("epoch", 1)] = sample
            except (ValueError, KeyError, TypeError):
                continue  # torn by a full disk or a kill
    rows: Rows = {name: [] for name in NAMES}
    for count, (place, each) in enumerate(last.items(), start=1):
        _add(rows, each, (log, run_id, *place))
        if count % _PART == 0:
            yield rows
            rows = {name: [] for name in NAMES}
    yield rows


def _add(rows: Rows, sample: Mapping[str, Any], place: tuple[str, str, int, int]) -> None:
    prompt, completion = sample.get("tokens") or (None, None)
    rows["eval_items"].append((
        *place, _text(sample.get("name")), sample.get("row"), _text(sample.get("cluster")), _text(sample.get("answer")),
        _text(sample.get("expected")), _text(sample.get("error")), _text(sample.get("model")), sample.get("at"),
        sample.get("seconds"), prompt, completion, sample.get("cost"), _json(sample.get("inputs")),
        _json(sample.get("outputs")), _json(sample.get("metadata")),
    ))  # fmt: skip
    for scorer, score in (sample.get("scores") or {}).items():
        rows["eval_scores"].append((
            *place, _text(scorer), score.get("value"), _text(score.get("error")), _json(score.get("details")),
        ))  # fmt: skip


def _fields(raw: bytes) -> dict[str, Any]:
    try:
        return dict(orjson.loads(raw))
    except ValueError:  # NaN, and halves of pairs
        return dict(json.loads(raw))


def _json(value: Any) -> str | None:
    return None if value is None else _text(json.dumps(value, ensure_ascii=False))


def _text(text: str | None) -> str | None:
    """Return what the ledger takes: no halves of pairs."""
    return None if text is None else text.encode("utf-8", "replace").decode()

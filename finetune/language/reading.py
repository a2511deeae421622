"""The rows of a training: read from its data, and divided where some are kept back to validate."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from finetune.data.read import Found, Reading, checked
from finetune.data.rows import Row

if TYPE_CHECKING:
    from pathlib import Path

    from finetune.language.given import Given
    from finetune.language.spec import Rows, Split


def rows_of(given: Given) -> tuple[list[Row], list[Row]]:
    """Return the rows to learn from, and those to validate with."""
    job = given.job
    found = _read(given.data, job.data)
    if given.validation is not None:
        return [each.row for each in found], [each.row for each in _read(given.validation, job.validation or job.data)]
    return _divided(found, job.split)


def _read(path: Path, rows: Rows) -> list[Found]:
    return list(checked(path, Reading(form=rows.format, columns=rows.columns, limit=rows.limit)))


def _divided(found: Sequence[Found], split: Split) -> tuple[list[Row], list[Row]]:
    """Return both sides; whether a row is kept back depends on itself alone, or on its group, and not on the others."""
    train: list[Row] = []
    kept: list[Row] = []
    for each in found:
        (kept if _place(each.raw, each.row.number, split) < split.validation else train).append(each.row)
    return train, kept


def _place(raw: Mapping[str, Any], number: int, split: Split) -> float:
    key = raw.get(split.by) if split.by else number
    digest = hashlib.sha256(f"{split.seed}:{key}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64

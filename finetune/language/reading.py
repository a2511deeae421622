"""The rows of a training: read from its data, and divided where some are kept back to validate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from finetune.data.read import Found, Reading, checked
from finetune.data.rows import Row
from finetune.data.split import Splitting, split

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


def _divided(found: Sequence[Found], how: Split) -> tuple[list[Row], list[Row]]:
    """Return both sides; rows that share a question, or a value of `by`, are on one."""
    if not how.validation:
        return [each.row for each in found], []
    train, kept = split(found, Splitting(validation=how.validation, by=how.by, seed=how.seed))
    return [each.row for each in train], [each.row for each in kept]

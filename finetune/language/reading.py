"""The rows of a training: read from its data, and divided where some are kept back to validate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetune.data.read import Found, Reading, checked
from finetune.data.rows import Row
from finetune.data.split import Splitting, split

if TYPE_CHECKING:
    from pathlib import Path

    from finetune.language.given import Given
    from finetune.language.spec import Rows


def rows_of(given: Given) -> tuple[list[Row], list[Row]]:
    """Return the rows to learn from, and those to validate with; no question stands on both sides of a split."""
    job = given.job
    found = _read(given.data, job.data)
    kept: list[Found] = []
    if given.validation is not None:
        kept = _read(given.validation, job.validation or job.data)
    elif job.split.validation:
        how = Splitting(validation=job.split.validation, by=job.split.by, seed=job.split.seed)
        found, kept = split(found, how)
    return [each.row for each in found], [each.row for each in kept]


def _read(path: Path, rows: Rows) -> list[Found]:
    return list(checked(path, Reading(form=rows.format, columns=rows.columns, limit=rows.limit)))

"""Rows to train on and rows that are kept back: what belongs together is on one side, the same one each time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from finetune.data.duplicates import question_of
from finetune.data.read import Found
from workspace.errors import Invalid, did_you_mean


@dataclass(frozen=True, slots=True, kw_only=True)
class Splitting:
    """What share is kept back, by which column's values rows belong together, by default by what they ask first."""

    validation: float = 0.1
    by: str | None = None
    seed: int = 0


def split(rows: Iterable[Found], how: Splitting) -> tuple[list[Found], list[Found]]:
    """Return rows to train on and rows kept back; no group is on both sides.

    The side hangs on the group and the seed alone: rows that come later move none that were there.
    """
    if not 0 < how.validation < 1:
        raise Invalid(f"the share that is kept back is between 0 and 1, not {how.validation}")
    groups: dict[str, list[Found]] = {}
    for row in rows:
        groups.setdefault(_group(row, how.by), []).append(row)
    if len(groups) < 2:
        by = f"one value of {how.by!r}" if how.by else "one question"
        raise Invalid(f"all rows have {by}: none can be kept back", hint="give validation data of its own")
    places = {group: place(group, how.seed) for group in groups}
    kept = {group for group, at in places.items() if at < how.validation}
    if not kept:
        kept = {min(places, key=places.__getitem__)}
    elif len(kept) == len(groups):
        kept.discard(max(places, key=places.__getitem__))
    train = [row for group, members in groups.items() if group not in kept for row in members]
    back = [row for group, members in groups.items() if group in kept for row in members]
    return [*sorted(train, key=_number)], [*sorted(back, key=_number)]


def place(group: str, seed: int) -> float:
    """Return where a group stands between 0 and 1, evenly spread and for ever the same."""
    digest = hashlib.blake2b(f"{seed}:{group}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64


def _group(row: Found, by: str | None) -> str:
    if by is None:
        return " ".join(question_of(row.row).casefold().split())
    if by not in row.raw:
        raise Invalid(f"row {row.row.number} has no column {by!r}", hint=did_you_mean(by, map(str, row.raw)))
    return str(row.raw[by])


def _number(row: Found) -> int:
    return row.row.number

"""Rows laid end to end in sequences of one length, so that little is padded and no row sees another.

Positions begin again with each row. Attention must not cross rows: transformers reads where they begin from
`position_ids`, given without an attention mask and without a cache; anything else takes `bounds` or `block_mask`.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from finetune.data.encode import IGNORED, Encoded
from workspace.errors import Invalid

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """Rows as one sequence; row n of them has the tokens from `bounds[n]` to `bounds[n + 1]` (cu_seqlens)."""

    input_ids: Numbers
    labels: Numbers
    position_ids: Numbers
    bounds: Numbers

    def block_mask(self) -> npt.NDArray[np.bool_]:
        """Return which token (row) may see which (column): those before it in its own row."""
        row = np.repeat(np.arange(len(self.bounds) - 1), np.diff(self.bounds))
        seen: npt.NDArray[np.bool_] = np.tri(len(row), dtype=np.bool_) & (row[:, None] == row[None, :])
        return seen


def pack(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Return which rows share a sequence of `capacity` tokens: best fit, the longest first.

    >>> pack([5, 3, 2, 4], 7)
    [[0, 2], [3, 1]]
    """
    bins: list[list[int]] = []
    rooms: list[tuple[int, int]] = []  # what is left in which bin, the fullest first
    for row in sorted(range(len(lengths)), key=lambda row: (-lengths[row], row)):
        length = lengths[row]
        if length > capacity:
            raise Invalid(f"a row of {length} tokens does not fit into {capacity}", hint="raise the sequence length")
        place = bisect_left(rooms, (length, -1))
        if place == len(rooms):
            bins.append([row])
            insort(rooms, (capacity - length, len(bins) - 1))
            continue
        room, bin_ = rooms.pop(place)
        bins[bin_].append(row)
        insort(rooms, (room - length, bin_))
    return bins


def together(rows: Sequence[Encoded]) -> Packed:
    """Lay rows end to end."""
    lengths = [len(row) for row in rows]
    return Packed(
        input_ids=np.concatenate([row.tokens for row in rows]).astype(np.int64),
        labels=np.concatenate([np.where(row.loss, row.tokens, IGNORED) for row in rows]).astype(np.int64),
        position_ids=np.concatenate([np.arange(length) for length in lengths]).astype(np.int64),
        bounds=np.cumsum([0, *lengths]).astype(np.int64),
    )


def padding(lengths: Sequence[int], groups: Sequence[Sequence[int]]) -> float:
    """Return the share of padding where each group of rows is padded to its longest.

    >>> padding([4, 2], [[0, 1]])
    0.25
    """
    held = sum(max(lengths[row] for row in group) * len(group) for group in groups)
    return 1 - sum(lengths[row] for group in groups for row in group) / held if held else 0.0

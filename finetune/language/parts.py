"""Batches without padding: rows lie behind each other, each counts its own positions, none sees another."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from finetune.data.packing import pack

IGNORED = -100


class Collate:
    """Makes one long row of a batch; where each begins and which it was is told beside it."""

    def __call__(self, features: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        lengths = [len(each["input_ids"]) for each in features]
        labels = [[IGNORED, *each["labels"][1:]] for each in features]  # what is first in a row follows nothing
        flat = [label for row in labels for label in row]
        return {
            "input_ids": torch.tensor([[token for each in features for token in each["input_ids"]]]),
            "labels": torch.tensor([flat]),
            "position_ids": torch.cat([torch.arange(length) for length in lengths])[None],
            "lengths": torch.tensor(lengths),
            "rows": torch.tensor([each["row"] for each in features]),
            "counts": torch.tensor([sum(lengths), sum(label != IGNORED for label in flat)]),
        }


class Counted:
    """A collator of TRL's, with the numbers of the rows and how many tokens they really have beside its batch."""

    def __init__(self, collate: Callable[[Any], dict[str, Any]], counted: Callable[[Any], tuple[int, int]]) -> None:
        self._collate, self._counted = collate, counted

    def __call__(self, features: Sequence[dict[str, Any]]) -> dict[str, Any]:
        rows = torch.tensor([each["row"] for each in features])
        counts = [self._counted(each) for each in features]
        batch = self._collate([{name: each[name] for name in each if name != "row"} for each in features])
        return {**batch, "rows": rows, "counts": torch.tensor([sum(column) for column in zip(*counts, strict=True)])}


def parts(inputs: Mapping[str, Any], at_once: int) -> list[dict[str, Any]]:
    """Divide a batch into parts of at most so many tokens, by whole rows; 0: each row is a part."""
    lengths = inputs["lengths"].tolist()
    starts = [0]
    for length in lengths:
        starts.append(starts[-1] + length)
    return [
        {
            name: torch.cat([inputs[name][:, starts[row] : starts[row + 1]] for row in part], dim=1)
            for name in ("input_ids", "labels", "position_ids")
        }
        for part in _bins(lengths, at_once)
    ]


def _bins(lengths: Sequence[int], at_once: int) -> list[list[int]]:
    """Return rows that go together; one that is longer than all that may go at once goes alone."""
    if not at_once:
        return [[row] for row in range(len(lengths))]
    return pack([min(length, at_once) for length in lengths], at_once)

"""How long training rows are, how much of them is learnt, and what packing saves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from finetune.data.duplicates import Duplicate
from finetune.data.encode import Batch
from finetune.data.packing import pack, padding

_BATCH = 4  # rows of a batch, to say what would be padded without packing
_BARS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """What the rows of a file are like for one tokenizer, before they are cut at the limit."""

    form: str
    rows: int
    texts: int  # a row may become several, or none
    tokens: int
    learnt: int
    limit: int
    percentiles: Mapping[str, int]
    histogram: tuple[tuple[int, int], ...]  # up to how many tokens, and how many texts
    over_limit: int
    padding: float  # the share of what is computed, four rows of a file's order together, padded to the longest
    packed_padding: float
    duplicates: Mapping[str, int]
    notes: tuple[str, ...] = ()
    sequences: int = field(default=0)  # once packed to the limit

    def as_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {**asdict(self), "learnt_share": round(self.learnt / self.tokens, 4) if self.tokens else 0.0}


def statistics(form: str, rows: int, batch: Batch, limit: int, same: Sequence[Duplicate]) -> Statistics:
    """Return what is to be said of encoded rows, of which those in `same` say what others say."""
    lengths, learnt = _lengths(batch)
    was = [*(item.was for item in batch.items), *batch.notes.lost]
    bins = pack(lengths, max([limit, *lengths]))
    batches = [range(start, min(start + _BATCH, len(lengths))) for start in range(0, len(lengths), _BATCH)]
    kinds = [each.kind for each in same]
    return Statistics(
        form=form,
        rows=rows,
        texts=len(lengths),
        tokens=sum(lengths),
        learnt=learnt,
        limit=limit,
        percentiles={name: int(np.percentile(was, at)) for name, at in _PERCENTILES.items()},
        histogram=_histogram(was),
        over_limit=sum(each > limit for each in was),
        padding=round(padding(lengths, batches), 4),
        packed_padding=round(1 - sum(lengths) / (max([limit, *lengths]) * len(bins)), 4),
        sequences=len(bins),
        duplicates={kind: kinds.count(kind) for kind in ("exact", "normalized", "near")},
        notes=tuple(batch.notes.said()),
    )


_PERCENTILES = {"least": 0, "median": 50, "90 %": 90, "95 %": 95, "99 %": 99, "most": 100}


def _lengths(batch: Batch) -> tuple[list[int], int]:
    lengths = [len(text) for text in batch.texts]
    learnt = sum(int(text.loss.sum()) for text in batch.texts)
    for pair in batch.pairs:
        lengths += [len(pair.prompt) + len(answer) for answer in (pair.chosen, pair.rejected)]
        learnt += len(pair.chosen) + len(pair.rejected)
    for verdict in batch.verdicts:
        lengths.append(len(verdict.prompt) + len(verdict.completion))
        learnt += len(verdict.completion)
    return lengths, learnt


def _histogram(lengths: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Bars of one width, a round number of tokens, up to the 99th percentile; the last has all beyond."""
    reach = max(1, int(np.percentile(lengths, 99)))
    width = next(step for step in _STEPS if step * _BARS >= reach)
    places = np.minimum(np.asarray(lengths) // width, reach // width)
    counts = np.bincount(places, minlength=reach // width + 1)
    return tuple(((place + 1) * width, int(count)) for place, count in enumerate(counts))


_STEPS = [factor * 10**power for power in range(8) for factor in (1, 2, 5)]

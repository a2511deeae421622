"""What a model will read and learn, shown to people: texts in pieces, those learnt marked; in words and as a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from finetune.data.encode import Batch, Encoded, EncodedPair, EncodedVerdict, Tokens
from finetune.data.statistics import Statistics
from workspace.paper import template

_MOST = 12_000  # characters of a piece that are shown


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a text, whether it is learnt, and what it is where that must be said."""

    text: str
    learnt: bool
    label: str = ""


@dataclass(frozen=True, slots=True)
class Shown:
    """A row as the model will meet it."""

    row: int
    tokens: int
    learnt: int
    pieces: tuple[Piece, ...]


def shown(batch: Batch, tokenizer: Any, count: int) -> list[Shown]:
    """Return the first `count` of what was encoded."""
    return [_shown(item, tokenizer) for item in batch.items[:count]]


def page(name: str, statistics: Statistics, rows: Sequence[Shown]) -> str:
    """Return a page that needs nothing beside it: figures, lengths, and rows with what is learnt marked."""
    tallest = max((count for _, count in statistics.histogram), default=1) or 1
    bars = [(upto, count, round(100 * count / tallest, 2)) for upto, count in statistics.histogram]
    return template("finetune.data", "preview.html.jinja2").render(
        name=name, statistics=statistics, share=_percent(statistics.learnt, statistics.tokens), bars=bars, rows=rows
    )


def sentences(statistics: Statistics) -> list[str]:
    """Return what is to be said of the rows, a line each."""
    lengths = ", ".join(f"{name} {value:,}" for name, value in statistics.percentiles.items())
    same = ", ".join(f"{count:,} {kind}" for kind, count in statistics.duplicates.items() if count)
    most = max((count for _, count in statistics.histogram), default=1) or 1
    bars = "".join(_BLOCKS[-(-count * (len(_BLOCKS) - 1) // most)] for _, count in statistics.histogram)
    return [
        f"{statistics.rows:,} rows read as {statistics.form}, {statistics.texts:,} texts for the model",
        f"{statistics.tokens:,} tokens, {statistics.learnt:,} of them learnt "
        f"({_percent(statistics.learnt, statistics.tokens)})",
        f"tokens of a text: {lengths}",
        f"  {bars} up to {statistics.histogram[-1][0]:,}" if statistics.histogram else "",
        f"longer than the limit of {statistics.limit:,}: {statistics.over_limit:,}",
        f"padding: {statistics.padding:.1%} by fours, {statistics.packed_padding:.1%} packed into "
        f"{statistics.sequences:,} sequences",
        f"duplicates: {same or 'none'}",
        *statistics.notes,
    ]


_BLOCKS = " ▁▂▃▄▅▆▇█"


def _shown(item: Encoded | EncodedPair | EncodedVerdict, tokenizer: Any) -> Shown:
    def piece(tokens: Tokens, learnt: bool, label: str = "") -> Piece:
        text: str = tokenizer.decode(tokens.tolist(), clean_up_tokenization_spaces=False)
        return Piece(text if len(text) <= _MOST else f"{text[:_MOST]} […]", learnt, label)

    if isinstance(item, Encoded):
        edges = [0, *(np.flatnonzero(np.diff(item.loss.astype(np.int8))) + 1).tolist(), len(item)]
        spans = [(start, stop) for start, stop in pairwise(edges) if stop > start]
        pieces = [piece(item.tokens[start:stop], bool(item.loss[start])) for start, stop in spans]
        return Shown(item.row, len(item), int(item.loss.sum()), tuple(pieces))
    if isinstance(item, EncodedVerdict):
        label = "good" if item.good else "bad"
        pieces = [piece(item.prompt, False), piece(item.completion, True, label)]
        return Shown(item.row, len(item.prompt) + len(item.completion), len(item.completion), tuple(pieces))
    pieces = [piece(item.prompt, False), piece(item.chosen, True, "chosen"), piece(item.rejected, True, "rejected")]
    learnt = len(item.chosen) + len(item.rejected)
    return Shown(item.row, len(item.prompt) + learnt, learnt, tuple(pieces))


def _percent(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "0 %"

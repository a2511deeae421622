"""Rows that say what an earlier row says: word for word, but for case and punctuation, or nearly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from finetune.data.rows import Conversation, Row, Text, Verdict
from workspace.texts import SHINGLE, Places, Vocabulary, Words, jaccard, signatures

ALIKE = 0.85  # of the word triples of two rows, from where on one of them is enough
_LOOKED_AT = 64  # earlier rows of one band that a row is compared with

# "1 + 2" and "1 - 2" are two questions: what punctuation is elsewhere, sums and programs hang on.
_SPELLED = str.maketrans({sign: f" sign{ord(sign)} " for sign in "+-*/=<>%^&|~"})

Sameness = Literal["exact", "normalized", "near"]


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A row, by its number, and the earlier one that says the same."""

    row: int
    of: int
    kind: Sameness
    similarity: float


def text_of(row: Row) -> str:
    """Return all that a row says, by whom it is said."""
    if isinstance(row, Text):
        return f"{row.prompt}\n{row.completion}"
    if isinstance(row, Conversation):
        messages = row.messages
    elif isinstance(row, Verdict):
        messages = (*row.prompt, *row.completion)
    else:
        messages = (*row.prompt, *row.chosen, *row.rejected)
    return "\n".join(
        "\n".join((message.role, message.text, *(f"{call.name} {call.arguments}" for call in message.calls)))
        for message in messages
    )


def question_of(row: Row) -> str:
    """Return what a row asks first, or how a text begins: rows that share it belong on one side of a split."""
    if isinstance(row, Text):
        return row.prompt or row.completion
    messages = row.messages if isinstance(row, Conversation) else row.prompt
    return next((message.text for message in messages if message.role == "user"), text_of(row))


def duplicates(rows: Sequence[Row], *, alike: float = ALIKE) -> list[Duplicate]:
    """Return the rows that can be left out, each with the first that stays.

    Near ones share `alike` of their word triples; they are found by MinHash and then counted.
    """
    texts = [text_of(row) for row in rows]
    words = Vocabulary().number(text.translate(_SPELLED) for text in texts)
    found: dict[int, Duplicate] = {}
    first: dict[bytes, int] = {}
    for place in range(len(rows)):
        key = words.of(place).tobytes() or texts[place].encode()
        of = first.setdefault(key, place)
        if of != place:
            kind: Sameness = "exact" if texts[of] == texts[place] else "normalized"
            found[place] = Duplicate(rows[place].number, rows[of].number, kind, 1.0)
    left = np.asarray([place for place in first.values() if words.lengths[place] >= SHINGLE], dtype=np.int64)
    for place, of, similarity in _near(words, left, alike) if len(left) else ():
        found[place] = Duplicate(rows[place].number, rows[of].number, "near", round(similarity, 4))
    return [found[place] for place in sorted(found)]


def _near(words: Words, left: Places, alike: float) -> Iterator[tuple[int, int, float]]:
    bands = signatures(words, left)
    kept: list[dict[int, list[int]]] = [{} for _ in range(bands.shape[1])]
    shingles: dict[int, frozenset[int]] = {}
    for row, place in enumerate(left.tolist()):
        met = {of for held, band in zip(kept, bands[row].tolist(), strict=True) for of in held.get(band, ())}
        best = max(((_similar(words, shingles, place, of), -of) for of in met), default=(0.0, 0))
        if best[0] >= alike:
            yield place, -best[1], best[0]
            continue
        for held, band in zip(kept, bands[row].tolist(), strict=True):
            others = held.setdefault(band, [])
            if len(others) < _LOOKED_AT:
                others.append(place)


def _similar(words: Words, known: dict[int, frozenset[int]], one: int, other: int) -> float:
    for place in (one, other):
        if place not in known:
            own = words.of(place)
            alone = Words(own, np.asarray([0, len(own)], dtype=np.int64))
            known[place] = frozenset(alone.windows(SHINGLE)[0].tolist())
    return jaccard(known[one], known[other])

"""From the words of a question to the words of the shelf: whole, as a beginning, or mistyped."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb

_WORD = re.compile(r"[^\W_]+(?:\.\d+)*")
_WHOLE, _BEGINNING, _MISTYPED = 1.0, 0.7, 0.5
_MOST = 200  # words that one beginning may stand for
_COMMON = 50  # models that have a word, from where on it is meant itself and is no beginning of others
_LAST = "\U0010ffff"
# What people say, and what models are called: either will do.
_ALSO = {
    "asr": ("speech", "whisper"),
    "chat": ("instruct", "it", "chat"),
    "classifier": ("classification",),
    "coder": ("code",),
    "coding": ("code", "coder"),
    "embedder": ("embed", "embedding", "similarity"),
    "embedding": ("embed", "similarity", "sentence"),
    "ocr": ("ocr", "trocr"),
    "reranker": ("rerank", "ranking"),
    "reranking": ("rerank", "reranker"),
    "summarizer": ("summarization",),
    "translate": ("translation", "opus", "nllb"),
    "translator": ("translation", "opus", "nllb"),
    "tts": ("speech", "tts"),
    "vision": ("vl", "image"),
}


@dataclass(frozen=True, slots=True)
class Meant:
    """What one word of a question stands for: words of the shelf by their code, with how well each fits, from 0 to 1.

    `instead` is the word that was taken for a mistyped one; `rarity` the number of models that any of them may name.
    """

    asked: str
    codes: dict[int, float]
    rarity: int
    instead: str | None = None


def meant(shelf: duckdb.DuckDBPyConnection, question: str) -> list[Meant]:
    """Return what the words of a question stand for, the rarest first.

    >>> [each.instead for each in meant(shelf, "qwne embeddings")]
    ['qwen', None]
    """
    asked = dict.fromkeys(_WORD.findall(question.lower()))
    return sorted((_meant(shelf, word) for word in asked), key=lambda each: each.rarity)


def _meant(shelf: duckdb.DuckDBPyConnection, word: str) -> Meant:
    stem = word.removesuffix("s") if len(word) > 4 else word
    found = _beginning(shelf, word) or _beginning(shelf, stem)
    if found and found[0][1] == word and found[0][2] >= _COMMON:
        found = found[:1]
    codes = {code: _WHOLE if known == word else _BEGINNING for code, known, _ in found}
    rarity = sum(models for *_, models in found)
    for also in _ALSO.get(stem, ()):
        for code, _, models in _beginning(shelf, also):
            codes.setdefault(code, _BEGINNING)
            rarity += models
    return Meant(word, codes, rarity) if codes else _mistyped(shelf, word)


def _beginning(shelf: duckdb.DuckDBPyConnection, word: str) -> list[tuple[int, str, int]]:
    """Return the words that begin so, itself first; a single letter or digit stands for itself alone."""
    found: list[tuple[int, str, int]] = shelf.execute(
        f"""SELECT code, word, models FROM words WHERE word >= ? AND word < ?
        ORDER BY word <> ?, models DESC LIMIT {_MOST}""",
        [word, word + (_LAST if len(word) > 1 else "\0"), word],
    ).fetchall()
    return found


def _mistyped(shelf: duckdb.DuckDBPyConnection, word: str) -> Meant:
    """Look among words that begin alike or have nearly the same letters; two slips are seen through in long words."""
    slips = 0 if len(word) < 4 else 1 if len(word) < 8 else 2
    found = shelf.execute(
        """SELECT code, word, models, damerau_levenshtein(word, $word) AS slips FROM spellings
        WHERE length BETWEEN $size - $slips AND $size + $slips
        AND (word[1] = $word[1] OR word[2] = $word[1] OR word[2] = $word[2]) AND slips <= $slips
        ORDER BY slips, models DESC LIMIT 3""",
        {"word": word, "size": len(word), "slips": slips},
    ).fetchall()
    codes = {code: _MISTYPED / count for code, _, _, count in found}
    return Meant(word, codes, sum(row[2] for row in found), found[0][1] if found else None)

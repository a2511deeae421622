"""Texts by the thousand as numbers: which are the same, which one holds another, which are nearly the same."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.uint64]
Places = npt.NDArray[np.int64]

SHINGLE = 3  # words
BANDS, ROWS = 20, 3  # of a signature: what is alike to 0.6 meets in a band with a probability of 0.99
_BLOCK = 1 << 19  # shingles hashed at once
_WORD = re.compile(r"\w+")
_MIX = np.uint64(0x9E3779B97F4A7C15)


class Vocabulary:
    """The words that were met, each with its number."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def number(self, texts: Iterable[str]) -> Words:
        """Return the words of all texts, without case and punctuation, one text after the other."""
        numbers, found, ends = self._numbers, [], [0]
        for text in texts:
            found.extend([numbers.setdefault(word, len(numbers)) for word in _WORD.findall(text.casefold())])
            ends.append(len(found))
        return Words(np.asarray(found, dtype=np.uint64), np.asarray(ends, dtype=np.int64))


@dataclass(frozen=True, slots=True)
class Words:
    """The words of many texts; text number n has those from `ends[n]` to `ends[n + 1]`."""

    numbers: Numbers
    ends: Places

    @property
    def lengths(self) -> Places:
        """How many words each text has."""
        return np.diff(self.ends)

    def windows(self, size: int) -> tuple[Numbers, Places]:
        """Return a hash of each `size` words in a row, and the text they stand in."""
        count = len(self.numbers) - size + 1
        if count < 1:
            return np.empty(0, np.uint64), np.empty(0, np.int64)
        hashed = np.zeros(count, np.uint64)
        for step in range(size):
            hashed = mixed(hashed * _MIX + self.numbers[step : step + count] + np.uint64(1))
        text = np.repeat(np.arange(len(self.ends) - 1), self.lengths)
        within = text[:count] == text[size - 1 :]
        return hashed[within], text[:count][within]

    def of(self, text: int) -> Numbers:
        """Return the words of one text."""
        return self.numbers[self.ends[text] : self.ends[text + 1]]


def mixed(numbers: Numbers) -> Numbers:
    """Return numbers whose every bit hangs on every bit of these (MurmurHash3's last step)."""
    shift = np.uint64(33)
    numbers = (numbers ^ (numbers >> shift)) * np.uint64(0xFF51AFD7ED558CCD)
    numbers = (numbers ^ (numbers >> shift)) * np.uint64(0xC4CEB9FE1A85EC53)
    return numbers ^ (numbers >> shift)


def signatures(words: Words, texts: Places) -> Numbers:
    """Return the MinHash bands of some texts, one row each: two that share a band are worth a closer look."""
    hashed, of = words.windows(SHINGLE)
    wanted = np.isin(of, texts)
    hashed, of = hashed[wanted], of[wanted]
    starts = np.searchsorted(of, texts)
    seeds = np.random.Generator(np.random.SFC64(7)).integers(1, 1 << 63, size=(2, BANDS * ROWS), dtype=np.uint64)
    bands = np.zeros((len(texts), BANDS), np.uint64)
    for begin, end in _blocks(starts):
        part = hashed[starts[begin] : starts[end] if end < len(texts) else len(hashed)]
        inside = starts[begin:end] - starts[begin]
        for number in range(BANDS * ROWS):
            least = np.minimum.reduceat(mixed(part * (seeds[0, number] | np.uint64(1)) + seeds[1, number]), inside)
            band = number // ROWS
            bands[begin:end, band] = mixed(bands[begin:end, band] * _MIX + least)
    return bands


def jaccard(one: frozenset[int], other: frozenset[int]) -> float:
    """Return the share of what both have among all that either has."""
    either = len(one | other)
    return len(one & other) / either if either else 1.0


def _blocks(starts: Places) -> Iterator[tuple[int, int]]:
    begin = 0
    while begin < len(starts):
        end = int(np.searchsorted(starts, starts[begin] + _BLOCK))
        end = max(begin + 1, end)
        yield begin, min(end, len(starts))
        begin = end

"""Scorers that compare the text of an answer with the expected one."""

from __future__ import annotations

import math
import re
import string

from evals.scorers.registry import scorer

_NUMBER = re.compile(r"[-+]?(?:\d[\d,]*(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?")
_NO_PUNCTUATION = str.maketrans(dict.fromkeys(string.punctuation, " "))
_ARTICLES = {"a", "an", "the"}


@scorer("exact")
def exact(answer: str, expected: str) -> float:
    """1.0 when the answer equals the expected one, ignoring case and outer whitespace."""
    return float(answer.strip().casefold() == expected.strip().casefold())


@scorer("normalized")
def normalized(answer: str, expected: str) -> float:
    """1.0 when they are equal without case, punctuation, articles and extra spaces: "The Nile." is "nile"."""
    return float(_words(answer) == _words(expected))


@scorer("contains")
def contains(answer: str, expected: str) -> float:
    """1.0 when the expected words stand in the answer, in order and next to each other."""
    found, wanted = _words(answer), _words(expected)
    if not wanted:
        return float(not found)
    return float(any(found[start : start + len(wanted)] == wanted for start in range(len(found))))


@scorer("numeric")
def numeric(answer: str, expected: str) -> float:
    """1.0 when the last number of the answer is the expected number: "12 + 30 = 42" is 42."""
    found, wanted = _NUMBER.findall(answer), _NUMBER.findall(expected)
    if not found or not wanted:
        return 0.0
    one, other = (float(numbers[-1].replace(",", "")) for numbers in (found, wanted))
    return float(math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12))


def _words(text: str) -> list[str]:
    return [word for word in text.casefold().translate(_NO_PUNCTUATION).split() if word not in _ARTICLES]

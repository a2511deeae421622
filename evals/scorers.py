"""Scorers: how good an answer is, from 0 to 1. A new one is a function with a name."""

from __future__ import annotations

import math
import re
import string
from collections.abc import Callable

from evals.samples import Sample, Score
from workspace.errors import NotFound, did_you_mean

Scorer = Callable[[Sample], Score]
Check = Callable[[str, str], float]

_checks: dict[str, Check] = {}
_NUMBER = re.compile(r"[-+]?(?:\d[\d,]*(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?")
_NO_PUNCTUATION = str.maketrans(dict.fromkeys(string.punctuation, " "))
_ARTICLES = {"a", "an", "the"}


def register(name: str) -> Callable[[Check], Check]:
    """Make a function of (answer, expected) a scorer of that name."""

    def keep(check: Check) -> Check:
        _checks[name] = check
        return check

    return keep


def names() -> tuple[str, ...]:
    """Return the scorers that compare an answer with the expected one."""
    return tuple(_checks)


def get(name: str) -> Scorer:
    """Return the scorer of that name: `get("exact")`."""
    try:
        check = _checks[name]
    except KeyError:
        raise NotFound(f"no scorer {name!r}", hint=did_you_mean(name, (*_checks, "judge"))) from None

    def score(sample: Sample) -> Score:
        if sample.answer is None or sample.expected is None:
            return Score(error="no expected answer" if sample.expected is None else "no answer")
        return Score(value=check(sample.answer, sample.expected))

    return score


@register("exact")
def exact(answer: str, expected: str) -> float:
    """1.0 when the answer equals the expected one, ignoring case and outer whitespace."""
    return float(answer.strip().casefold() == expected.strip().casefold())


@register("normalized")
def normalized(answer: str, expected: str) -> float:
    """1.0 when they are equal without case, punctuation, articles and extra spaces: "The Nile." is "nile"."""
    return float(_words(answer) == _words(expected))


@register("contains")
def contains(answer: str, expected: str) -> float:
    """1.0 when the expected words stand in the answer, in order and next to each other."""
    found, wanted = _words(answer), _words(expected)
    if not wanted:
        return float(not found)
    return float(any(found[start : start + len(wanted)] == wanted for start in range(len(found))))


@register("numeric")
def numeric(answer: str, expected: str) -> float:
    """1.0 when the last number of the answer is the expected number: "12 + 30 = 42" is 42."""
    found, wanted = _NUMBER.findall(answer), _NUMBER.findall(expected)
    if not found or not wanted:
        return 0.0
    one, other = (float(numbers[-1].replace(",", "")) for numbers in (found, wanted))
    return float(math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12))


def _words(text: str) -> list[str]:
    return [word for word in text.casefold().translate(_NO_PUNCTUATION).split() if word not in _ARTICLES]

"""Scorers that compare the text of an answer with the expected one."""

from __future__ import annotations

import math
import re
import string
from collections import Counter

from evals.samples import Sample, Score
from evals.scorers.patterns import SECONDS, compiled
from evals.scorers.registry import Scorer, references, scorer, scorer_maker
from workspace.errors import Invalid

_NUMBER = re.compile(r"[-+]?(?:\d[\d,]*(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?")
_NO_PUNCTUATION = str.maketrans(dict.fromkeys(string.punctuation, " "))
_ARTICLES = {"a", "an", "the"}
_SAID = r"(?:answer|choice|option)\s*(?:is|:|=)?\s*(?:option\s*)?[\(\[\"'*]*({letters})(?![a-z0-9])"
_MARKED = r"(?<![a-z0-9])[\(\[*]+({letters})[\)\]*.:]+|^[^\w\n]*({letters})[^\w\n]*$|^[ \t]*({letters})[ \t]*[\).:,]"
# "A cat" and "I think" name no choice, "A is right" does.
_ALONE = r"(?! (?!(?:is|or|and|because|since|as)\b)[a-z])"


@scorer("exact", quick=True)
def exact(answer: str, expected: str) -> float:
    """1.0 when the answer equals the expected one, ignoring case and outer whitespace."""
    return float(answer.strip().casefold() == expected.strip().casefold())


@scorer("normalized", quick=True)
def normalized(answer: str, expected: str) -> float:
    """1.0 when they are equal without case, punctuation, articles and extra spaces: "The Nile." is "nile"."""
    return float(words(answer) == words(expected))


@scorer("contains", quick=True)
def contains(answer: str, expected: str) -> float:
    """1.0 when the expected words stand in the answer, in order and next to each other."""
    found, wanted = words(answer), words(expected)
    if not wanted:
        return float(not found)
    return float(any(found[start : start + len(wanted)] == wanted for start in range(len(found))))


@scorer_maker("regex")
def matching(
    *, pattern: str | None = None, group: str | int = 0, ignore_case: bool = False, seconds: float = SECONDS
) -> Scorer:
    """1.0 when the pattern (by default the expected answer) is found; with both, its group must be what is expected.

    A pattern that needs longer than so many `seconds` for an answer is an error of that row.
    """
    given = None if pattern is None else compiled(pattern, ignore_case=ignore_case)
    if given is not None and group not in (range(given.groups + 1) if isinstance(group, int) else given.names):
        raise Invalid(f"the pattern {pattern!r} has no group {group!r}", hint="name one of its groups")

    def score(sample: Sample) -> Score:
        if sample.answer is None:
            return Score(error="no answer")
        if given is None:
            if sample.expected is None:
                return Score(error="no expected answer and no pattern")
            wanted = [compiled(each, ignore_case=ignore_case) for each in references(sample.expected)]
            return Score(value=float(any(each.search(sample.answer, seconds=seconds) for each in wanted)))
        found = given.search(sample.answer, seconds=seconds)
        if sample.expected is None or found is None:
            return Score(value=float(found is not None))
        text = found[group] or ""
        return Score(value=max(exact(text, each) for each in references(sample.expected)), details={"found": text})

    return score


@scorer("numeric", quick=True)
def numeric(answer: str, expected: str, *, tolerance: float = 0.0, relative: float = 1e-9) -> float:
    """1.0 when the last number of the answer is the expected number, within a tolerance: "12 + 30 = 42" is 42."""
    found, wanted = _NUMBER.findall(answer), _NUMBER.findall(expected)
    if not found or not wanted:
        return 0.0
    one, other = (float(numbers[-1].replace(",", "")) for numbers in (found, wanted))
    return float(one == other or math.isclose(one, other, rel_tol=relative, abs_tol=max(tolerance, 1e-12)))


@scorer("choice", quick=True)
def choice(sample: Sample, *, letters: str = "ABCDEFGHIJ") -> Score:
    """1.0 when the answer chooses the expected letter, or is the text of that choice; choosing several is wrong.

    The choices are the column `choices` of a row, a list of texts or a mapping of letters; the expected answer is a
    letter, the text of a choice, or its number from 0.
    """
    if sample.answer is None or sample.expected is None:
        return Score(error="no answer" if sample.answer is None else "no expected answer")
    choices = _choices(sample.metadata.get("choices", sample.inputs.get("choices")), letters)
    right = {_letter(each, choices, letters) for each in references(sample.expected)}
    if None in right:
        return Score(error=f"{sample.expected!r} is none of the choices {', '.join(choices)}")
    chosen = chosen_letter(sample.answer, choices or dict.fromkeys(letters, ""))
    return Score(value=float(chosen in right), details={"chosen": chosen})


@scorer("f1", quick=True)
def f1(answer: str, expected: str) -> float:
    """How far the words of both are the same: F1 over normalised words, as SQuAD's."""
    found, wanted = words(answer), words(expected)
    if not found or not wanted:
        return float(found == wanted)
    shared = (Counter(found) & Counter(wanted)).total()
    return 2 * shared / (len(found) + len(wanted))


def words(text: str) -> list[str]:
    """Return the words that count: in small letters, without punctuation and articles."""
    return [word for word in text.casefold().translate(_NO_PUNCTUATION).split() if word not in _ARTICLES]


def chosen_letter(answer: str, choices: dict[str, str]) -> str | None:
    """Return the one letter that an answer chooses, or None where it chooses none or several.

    >>> chosen_letter("The answer is (B).", {"A": "red", "B": "blue"}), chosen_letter("A or B", {"A": "", "B": ""})
    ('B', None)
    """
    text = answer.strip().casefold()
    by_text = [letter for letter, words_ in choices.items() if words_ and normalized(text, words_)]
    if len(by_text) == 1:
        return by_text[0]
    letters = "|".join(re.escape(letter.casefold()) for letter in choices)
    for pattern in (_SAID, _MARKED):
        found = [next(filter(None, each.groups())) for each in re.finditer(pattern.format(letters=letters), text, re.M)]
        if found:
            return found[0].upper() if len({*found}) == 1 else None
    alone = {letter for letter in choices if re.search(rf"(?<![\w']){re.escape(letter)}(?![\w']){_ALONE}", answer)}
    if alone:
        return alone.pop() if len(alone) == 1 else None
    held = [letter for letter, words_ in choices.items() if words_ and contains(answer, words_)]
    return held[0] if len(held) == 1 else None


def _choices(given: object, letters: str) -> dict[str, str]:
    if isinstance(given, dict):
        if {"text", "label"} <= given.keys():  # as the Hub's ARC and CommonsenseQA write them
            return dict(zip(map(str, given["label"]), map(str, given["text"]), strict=False))
        return {str(letter).upper(): str(text) for letter, text in given.items()}
    if isinstance(given, list | tuple):
        return {letter: str(text) for letter, text in zip(letters, given, strict=False)}
    return {}


def _letter(expected: str, choices: dict[str, str], letters: str) -> str | None:
    text = expected.strip()
    known = choices or dict.fromkeys(letters, "")
    if text.upper() in known:
        return text.upper()
    if by_text := [letter for letter, words_ in choices.items() if words_ == text]:
        return by_text[0]
    return [*known][int(text)] if text.isdecimal() and int(text) < len(known) else None

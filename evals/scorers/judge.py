"""The rubric judge: a chat model grades an answer, and says so in a number or not at all."""

from __future__ import annotations

import hashlib
import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Any, Literal

from evals.samples import Sample, Score, as_text
from evals.scorers.asking import ChatModel as ChatModel
from evals.scorers.asking import Reply, ask, question_of, verdict
from evals.scorers.registry import Means, Scorer, scorer_maker
from workspace.errors import Invalid, Unavailable

LOWEST, HIGHEST = 1, 5
_OUT_OF = re.compile(r"(?<![\d.])([1-5])\s*(?:/|out of)\s*5(?![\d.])", re.IGNORECASE)
_NAMED = re.compile(r"\b(?:score|grade|rating|points?)\W{0,8}(?:is\W{0,3}|of\W{0,3})?(\d+)(?![\d.]\d)", re.IGNORECASE)
_LONE = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?![\w])")

SYSTEM = "You are a strict grader. You reply with one digit from 1 to 5 and nothing else."
PROMPT = """Grade the answer by this rubric.

Rubric: {rubric}

Question:
{question}

{expected}Answer to grade:
{answer}

Grade from 1 (worst) to 5 (best). Reply with the digit only."""

PAIR_SYSTEM = "You compare two answers. You reply with A, B or tie, and nothing else."
PAIR_PROMPT = """Which answer is better by this rubric?

Rubric: {rubric}

Question:
{question}

Answer A:
{first}

Answer B:
{second}

Length and order do not matter. Reply with A, B or tie only."""

_GRADE = {
    "type": "object",
    "properties": {"grade": {"type": "integer", "enum": [*range(LOWEST, HIGHEST + 1)]}},
    "required": ["grade"],
    "additionalProperties": False,
}
_WINNER = {
    "type": "object",
    "properties": {"winner": {"type": "string", "enum": ["A", "B", "tie"]}},
    "required": ["winner"],
    "additionalProperties": False,
}
_WINNER_WORDS = re.compile(r"(?:(?:the )?(?:winner|better(?: answer)?|verdict) is:? )?(?:answer )?([ab]|tie)")
_WORTH = {"A": 1.0, "tie": 0.5, "B": 0.0}
_TURNED = {"A": "B", "B": "A", "tie": "tie"}


@scorer_maker("judge", needs=("a chat model",))
def by_rubric(*, means: Means, rubric: str, model: str | None = None) -> Scorer:
    """A chat model's grade by a rubric, 1 to 5 as 0 to 1; a reply without one clear grade is an error."""
    text = _words(rubric)
    return _when_asked(lambda: judge(means.model(model), text))


@scorer_maker("pairwise", needs=("a chat model",))
def by_pair(*, means: Means, rubric: str, against: str = "expected", model: str | None = None) -> Scorer:
    """1 when a chat model prefers the answer to the one in the column `against`, 0.5 for ties; asked in both orders."""
    text = _words(rubric)
    return _when_asked(lambda: pairwise(means.model(model), text, against=against))


@scorer_maker("panel", needs=("several chat models",))
def by_panel(*, means: Means, rubric: str, models: list[str], by: Literal["mean", "majority"] = "mean") -> Scorer:
    """The mean (or majority) of the grades of several chat models, and how far they disagree."""
    if len(models) < 2 or len({*models}) < len(models):
        raise Invalid(f"a panel needs different models, not {models!r}", hint="models: [one, other, third]")
    if by not in ("mean", "majority"):
        raise Invalid(f"a panel does not decide by {by!r}", hint="by: mean, or by: majority")
    text = _words(rubric)
    return _when_asked(lambda: panel([means.model(name) for name in models], text, by=by))


def judge(chat: ChatModel, rubric: str) -> Scorer:
    """Return a scorer that asks `chat` for a grade from 1 to 5 and maps it to 0 to 1.

    A reply without one clear grade is an error of that row. The model's revision, the rubric's hash and the reply
    are kept with each score.
    """
    revision = rubric_hash(rubric)

    def score(sample: Sample) -> Score:
        details = {"rubric": revision, "model": chat.model}
        if sample.answer is None:
            return Score(error="no answer", details=details)
        try:
            reply = ask(chat, SYSTEM, _prompt(sample, rubric), schema=_GRADE, tokens=32)
        except Unavailable as error:
            return Score(error=error.message, details=details)
        details |= {"model": reply.model, "reply": reply.text}
        grade = parse_grade(reply.text)
        if grade is None:
            return Score(error=f"the judge gave no clear grade: {reply.text[:80]!r}", details=details)
        return Score(value=_as_value(grade), details=details | {"grade": grade})

    return score


def pairwise(chat: ChatModel, rubric: str, *, against: str = "expected") -> Scorer:
    """Return a scorer that asks `chat` twice which of two answers is better, the second time in the other order.

    Two verdicts that differ are a tie, and `consistent` says so: it was the place that won, not the answer. `against`
    is "expected" or a column of the row.
    """
    revision = pair_hash(rubric)

    def score(sample: Sample) -> Score:
        other = sample.expected if against == "expected" else sample.metadata.get(against, sample.outputs.get(against))
        details: dict[str, Any] = {"rubric": revision, "model": chat.model, "against": against}
        if sample.answer is None or other is None:
            return Score(error="no answer" if sample.answer is None else f"no {against!r}", details=details)
        try:
            replies = [
                _preferred(chat, sample, rubric, order) for order in ((sample.answer, other), (other, sample.answer))
            ]
        except Unavailable as error:
            return Score(error=error.message, details=details)
        details |= {"model": replies[0].model, "replies": [reply.text for reply in replies]}
        first, turned = (parse_winner(reply.text) for reply in replies)
        if first is None or turned is None:
            unclear = replies[0 if first is None else 1].text
            return Score(error=f"the judge named no clear winner: {unclear[:80]!r}", details=details)
        second = _TURNED[turned]
        winner = first if first == second else "tie"
        details |= {"first": first, "second": turned, "consistent": first == second}
        return Score(value=_WORTH[winner], details=details)

    return score


def panel(chats: Sequence[ChatModel], rubric: str, *, by: Literal["mean", "majority"] = "mean") -> Scorer:
    """Return a scorer that asks several models; more than half of them must give a grade.

    The majority is of passes (grades above 3) and failures, equal numbers are 0.5. `disagreement` is the distance of
    the highest from the lowest grade, from 0 to 1.
    """
    judges = [judge(chat, rubric) for chat in chats]

    def score(sample: Sample) -> Score:
        with ThreadPoolExecutor(len(judges)) as pool:
            each = [*pool.map(lambda one: one(sample), judges)]
        values = [one.value for one in each if one.value is not None]
        said = {
            chat.model: one.value if one.error is None else one.error for chat, one in zip(chats, each, strict=True)
        }
        revisions = sorted(str(one.details["model"]) for one in each)
        details = {"rubric": rubric_hash(rubric), "model": " + ".join(revisions), "grades": said, "by": by}
        if 2 * len(values) <= len(judges):
            return Score(error=f"only {len(values)} of {len(judges)} judges gave a grade", details=details)
        return Score(value=_decided(values, by), details=details | {"disagreement": max(values) - min(values)})

    return score


def rubric_hash(rubric: str) -> str:
    """Return the short hash that names a rubric together with the prompt around it."""
    return _hash(SYSTEM, PROMPT, rubric)


def pair_hash(rubric: str) -> str:
    """Return the short hash that names a rubric by which pairs are compared, together with the prompt around it."""
    return _hash(PAIR_SYSTEM, PAIR_PROMPT, rubric)


def parse_grade(text: str) -> int | None:
    """Return the one grade that a reply states, or None where it states none or several.

    >>> parse_grade("Score: 4/5"), parse_grade("It is a 3."), parse_grade("Either 2 or 4"), parse_grade("10")
    (4, 3, None, None)
    """
    if (found := verdict(text)) is not None and "grade" in found:
        grade = found["grade"]
        return grade if type(grade) is int and LOWEST <= grade <= HIGHEST else None
    for pattern in (_OUT_OF, _NAMED, _LONE):
        if grades := set(pattern.findall(text)):
            only = grades.pop()
            return int(only) if not grades and only in {"1", "2", "3", "4", "5"} else None
    return None


def parse_winner(text: str) -> Literal["A", "B", "tie"] | None:
    """Return the winner that a reply names, or None where it says more or less than that.

    >>> parse_winner("Answer B."), parse_winner('{"winner": "tie"}'), parse_winner("A or B")
    ('B', 'tie', None)
    """
    winners: Mapping[str, Literal["A", "B", "tie"]] = {"a": "A", "b": "B", "tie": "tie"}
    if (found := verdict(text)) is not None:
        return winners.get(str(found.get("winner")).casefold())
    named = _WINNER_WORDS.fullmatch(text.strip(" \t\r\n.*\"'`[]").casefold())
    return winners[named[1]] if named else None


def _when_asked(make: Callable[[], Scorer]) -> Scorer:
    """A scorer that is made when the first sample comes: a gateway may have to start for it."""
    lock = Lock()
    made: list[Scorer] = []

    def score(sample: Sample) -> Score:
        with lock:
            if not made:
                made.append(make())
        return made[0](sample)

    return score


def _preferred(chat: ChatModel, sample: Sample, rubric: str, order: tuple[str, Any]) -> Reply:
    first, second = order
    prompt = PAIR_PROMPT.format(
        rubric=rubric.strip(), question=question_of(sample), first=first, second=as_text(second)
    )
    return ask(chat, PAIR_SYSTEM, prompt, schema=_WINNER, tokens=32)


def _prompt(sample: Sample, rubric: str) -> str:
    expected = f"Expected answer:\n{sample.expected}\n\n" if sample.expected is not None else ""
    return PROMPT.format(rubric=rubric.strip(), question=question_of(sample), expected=expected, answer=sample.answer)


def _decided(values: Sequence[float], by: str) -> float:
    if by == "mean":
        return statistics.fmean(values)
    passed = sum(value > 0.5 for value in values)
    return 0.5 if 2 * passed == len(values) else float(2 * passed > len(values))


def _as_value(grade: int) -> float:
    return (grade - LOWEST) / (HIGHEST - LOWEST)


def _words(rubric: str) -> str:
    """The rubric itself; a file's where one line names a file."""
    if "\n" not in rubric and len(rubric) < 255 and Path(rubric).is_file():
        return Path(rubric).read_text("utf-8")
    if not rubric.strip():
        raise Invalid("the judge needs a rubric", hint='rubric: "The answer is correct and short.", or a file')
    return rubric


def _hash(*texts: str) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]

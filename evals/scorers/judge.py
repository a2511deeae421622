"""The rubric judge: a chat model grades an answer, and says so in a number or not at all."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field

import httpx

from evals.samples import Sample, Score, as_text
from evals.scorers.registry import Scorer
from workspace.errors import Unavailable

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


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatModel:
    """A chat model behind an OpenAI-compatible address."""

    base_url: str
    model: str
    api_key: str = field(repr=False, default="")
    timeout: float = 60.0


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model said, and which revision of it spoke."""

    text: str
    model: str


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
            reply = ask(chat, _prompt(sample, rubric))
        except Unavailable as error:
            return Score(error=error.message, details=details)
        details |= {"model": reply.model, "reply": reply.text}
        grade = parse_grade(reply.text)
        if grade is None:
            return Score(error=f"the judge gave no clear grade: {reply.text[:80]!r}", details=details)
        return Score(value=(grade - LOWEST) / (HIGHEST - LOWEST), details=details | {"grade": grade})

    return score


def rubric_hash(rubric: str) -> str:
    """Return the short hash that names a rubric together with the prompt around it."""
    return hashlib.sha256(f"{SYSTEM}\n{PROMPT}\n{rubric}".encode()).hexdigest()[:16]


def parse_grade(text: str) -> int | None:
    """Return the one grade that a reply states, or None where it states none or several.

    >>> parse_grade("Score: 4/5"), parse_grade("It is a 3."), parse_grade("Either 2 or 4"), parse_grade("10")
    (4, 3, None, None)
    """
    for pattern in (_OUT_OF, _NAMED, _LONE):
        if grades := set(pattern.findall(text)):
            only = grades.pop()
            return int(only) if not grades and only in {"1", "2", "3", "4", "5"} else None
    return None


def ask(chat: ChatModel, prompt: str) -> Reply:
    """Ask once, greedily and for a short reply; raise Unavailable where none comes."""
    try:
        response = httpx.post(
            f"{chat.base_url.rstrip('/')}/chat/completions",
            headers={"Authorization": f"Bearer {chat.api_key}"} if chat.api_key else {},
            json={
                "model": chat.model,
                "messages": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": prompt}],
                "temperature": 0,
                "max_tokens": 12,
            },
            timeout=chat.timeout,
        )
        if response.is_error:
            raise Unavailable(f"the judge answered {response.status_code}: {response.text[:200]}")
        body = response.json()
        text = body["choices"][0]["message"]["content"]
    except httpx.HTTPError as error:
        raise Unavailable(f"the judge cannot be reached: {error or type(error).__name__}") from error
    except (ValueError, LookupError, TypeError) as error:
        raise Unavailable("the judge's answer is no chat completion") from error
    model = response.headers.get("x-studiolo-model") or body.get("model") or chat.model
    return Reply(text if isinstance(text, str) else "", str(model))


def _prompt(sample: Sample, rubric: str) -> str:
    question = "\n".join(f"{key}: {as_text(value)}" for key, value in sample.inputs.items())
    expected = f"Expected answer:\n{sample.expected}\n\n" if sample.expected is not None else ""
    return PROMPT.format(rubric=rubric.strip(), question=question, expected=expected, answer=sample.answer)

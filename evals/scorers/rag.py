"""Scorers of answers from documents: whether the right ones were found, and whether the answer keeps to them.

The contexts are the answer's `contexts` (or `context`), else the row's: texts, or mappings with `text` or `content` and
what names them: `id`, or `source` and `place` as our index gives them.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from evals.samples import Sample, Score
from evals.scorers.asking import ask, embed, question_of, verdict
from evals.scorers.overlap import cosine
from evals.scorers.registry import Means, Scorer, scorer, scorer_maker
from evals.scorers.text import words
from workspace.errors import Unavailable

_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9\"'(\[])|\n+")
_CITED = re.compile(r"\[(\d+(?:\s*,\s*\d+)*)\]")
_SUPPORTED = 0.5  # of a sentence's words that say something, from where on a context supports it

_CLAIMS_SYSTEM = "You check answers against documents. You reply with one JSON object and nothing else."
_CLAIMS_PROMPT = """Split the answer into short claims, and say of each whether the documents support it.

Documents:
{contexts}

Question:
{question}

Answer:
{answer}

Reply as {{"claims": [{{"claim": "…", "supported": true}}]}}. An answer that claims nothing has no claims."""
_CLAIMS = {
    "type": "object",
    "properties": {
        "claims": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"claim": {"type": "string"}, "supported": {"type": "boolean"}},
                "required": ["claim", "supported"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["claims"],
    "additionalProperties": False,
}


@scorer("context_precision")
def context_precision(sample: Sample, *, column: str = "expected_contexts") -> Score:
    """How far the right contexts stand first: average precision over those found, by the row's `expected_contexts`."""
    found, wanted, missing = _found_and_wanted(sample, column)
    if missing is not None:
        return missing
    hits = [any(_same(each, one) for one in wanted) for each in found]
    shares = [sum(hits[: place + 1]) / (place + 1) for place, hit in enumerate(hits) if hit]
    return Score(value=statistics.fmean(shares) if shares else 0.0, details={"right": hits})


@scorer("context_recall")
def context_recall(sample: Sample, *, column: str = "expected_contexts") -> Score:
    """The share of the row's `expected_contexts` (ids or texts) that were found."""
    found, wanted, missing = _found_and_wanted(sample, column)
    if missing is not None:
        return missing
    got = [any(_same(each, one) for each in found) for one in wanted]
    return Score(value=sum(got) / len(got), details={"found": got})


@scorer("citations")
def citations(sample: Sample, *, support: float = _SUPPORTED) -> Score:
    """The share of sentences with marks like [1] whose cited contexts exist and have most of their words.

    It compares words and understands nothing: a sentence that denies its source has the same words. An answer that
    cites nothing is 0, where there is anything to cite.
    """
    if (contexts := contexts_of(sample)) is None or sample.answer is None:
        return Score(error="no contexts" if contexts is None else "no answer")
    cited = [
        (each, [int(n) for marks in _CITED.findall(each) for n in marks.split(",")]) for each in _sentences(sample)
    ]
    cited = [(each, marks) for each, marks in cited if marks]
    if not cited:
        return Score(value=float(not contexts), details={"cited": 0})
    unknown = sorted({n for _, marks in cited for n in marks if not 1 <= n <= len(contexts)})
    held = [
        all(1 <= n <= len(contexts) for n in marks)
        and _supported(_CITED.sub("", each), " ".join(_text(contexts[n - 1]) for n in marks), support)
        for each, marks in cited
    ]
    wrong = [each[:200] for (each, _), right in zip(cited, held, strict=True) if not right]
    return Score(value=sum(held) / len(held), details={"cited": len(held), "unknown": unknown, "wrong": wrong})


@scorer("grounded")
def grounded(sample: Sample, *, support: float = _SUPPORTED) -> Score:
    """The share of the answer's sentences whose words stand in the contexts: faithfulness without a judge, by words."""
    if not (contexts := contexts_of(sample)) or sample.answer is None:
        return Score(error="no contexts" if sample.answer is not None else "no answer")
    text = " ".join(map(_text, contexts))
    sentences = [each for each in _sentences(sample) if words(_CITED.sub("", each))]
    held = [_supported(_CITED.sub("", each), text, support) for each in sentences]
    wrong = [each[:200] for each, right in zip(sentences, held, strict=True) if not right]
    return Score(value=sum(held) / len(held) if held else 1.0, details={"wrong": wrong} if wrong else {})


@scorer_maker("faithfulness", needs=("a chat model",))
def faithfulness(*, means: Means, model: str | None = None) -> Scorer:
    """The share of the answer's claims that the contexts support, in the eyes of a chat model."""

    def score(sample: Sample) -> Score:
        if not (contexts := contexts_of(sample)) or sample.answer is None:
            return Score(error="no contexts" if sample.answer is not None else "no answer")
        shown = "\n\n".join(f"[{number}] {_text(each)}" for number, each in enumerate(contexts, start=1))
        prompt = _CLAIMS_PROMPT.format(contexts=shown, question=question_of(sample), answer=sample.answer)
        try:
            reply = ask(means.model(model), _CLAIMS_SYSTEM, prompt, schema=_CLAIMS, tokens=1024)
        except Unavailable as error:
            return Score(error=error.message)
        details = {"model": reply.model, "reply": reply.text[:2000]}
        claims = claims_in(reply.text)
        if claims is None:
            return Score(error=f"the judge listed no claims: {reply.text[:80]!r}", details=details)
        wrong = [claim for claim, supported in claims if not supported]
        value = 1 - len(wrong) / len(claims) if claims else 1.0
        return Score(value=value, details={**details, "claims": len(claims), "wrong": wrong})

    return score


@scorer_maker("answer_relevance", needs=("an embedder",))
def answer_relevance(*, means: Means, model: str | None = None) -> Scorer:
    """How near the answer is to what was asked: the cosine of both as an embedder sees them."""

    def score(sample: Sample) -> Score:
        if not sample.answer:
            return Score(error="no answer") if sample.answer is None else Score(value=0.0)
        asked = "\n".join(str(each) for key, each in sample.inputs.items() if key not in ("contexts", "context"))
        embedder = means.embedder(model)
        try:
            one, other = embed(embedder, [asked, sample.answer])
        except Unavailable as error:
            return Score(error=error.message)
        return Score(value=max(0.0, min(1.0, cosine(one, other))), details={"embedder": embedder.model})

    return score


def contexts_of(sample: Sample) -> list[Any] | None:
    """Return the contexts that the answer was given from, or None where nothing says which."""
    for place in (sample.outputs, sample.metadata, sample.inputs):
        for name in ("contexts", "context", "retrieved_contexts", "documents"):
            if (given := place.get(name)) is not None:
                return [*given] if isinstance(given, list | tuple) else [given]
    return None


def claims_in(reply: str) -> list[tuple[str, bool]] | None:
    """Return the claims that a judge's reply lists, or None where it is no such list."""
    found = verdict(reply)
    listed = found.get("claims") if found is not None else None
    if not isinstance(listed, list):
        return None
    claims = []
    for each in listed:
        if not isinstance(each, dict) or not isinstance(each.get("supported"), bool):
            return None
        claims.append((str(each.get("claim")), each["supported"]))
    return claims


def _found_and_wanted(sample: Sample, column: str) -> tuple[list[Any], list[Any], Score | None]:
    found, wanted = contexts_of(sample), sample.metadata.get(column)
    if found is None or not wanted:
        return [], [], Score(error="no contexts" if found is None else f"the row has no {column!r}")
    return found, [*wanted] if isinstance(wanted, Sequence) and not isinstance(wanted, str) else [wanted], None


def _same(found: Any, wanted: Any) -> bool:
    """By id where both have one, else by text: the one inside the other, but for case and spaces."""
    ids = [
        str(each["id"]) if isinstance(each, Mapping) and each.get("id") is not None else None
        for each in (found, wanted)
    ]
    if None not in ids:
        return ids[0] == ids[1]
    if isinstance(found, Mapping) and str(wanted) in (ids[0], found.get("source"), found.get("place")):
        return True
    one, other = (" ".join(_text(each).casefold().split()) for each in (found, wanted))
    return bool(one and other) and (one in other or other in one)


def _text(context: Any) -> str:
    if isinstance(context, Mapping):
        return str(
            next((context[key] for key in ("content", "text", "page_content", "chunk") if key in context), context)
        )
    return str(context)


def _sentences(sample: Sample) -> list[str]:
    return [each.strip() for each in _SENTENCE.split(sample.answer or "") if each.strip()]


def _supported(sentence: str, text: str, share: float) -> bool:
    wanted = {word for word in words(sentence) if len(word) > 3 or word.isdecimal()}
    there = {*words(text)}
    if any(word.isdecimal() and word not in there for word in wanted):
        return False  # a number that the source does not have is no matter of degree
    return len(wanted & there) >= share * len(wanted)

"""How near an answer comes to the expected text: translation and summary measures, edit distance, meaning."""

from __future__ import annotations

import math
from functools import cache
from typing import Any, Literal

from evals.samples import Sample, Score
from evals.scorers.asking import ChatModel, embed
from evals.scorers.registry import Means, Scorer, references, scorer, scorer_maker
from workspace.errors import Invalid, MissingExtra, Unavailable

_EXTRA = "pip install 'studiolo[evals]'"


@scorer("bleu", needs=("sacrebleu",))
def bleu(sample: Sample, *, tokenize: Literal["13a", "char", "intl", "none", "zh"] = "13a") -> Score:
    """Sentence BLEU as sacrebleu counts it, from 0 to 1, over all references at once."""
    if (missing := _missing(sample)) is not None:
        return missing
    result = _bleu(tokenize).sentence_score(sample.answer, [*references(sample.expected or "")])
    return Score(value=_share(result.score), details={"signature": str(_bleu(tokenize).get_signature())})


@scorer("chrf", needs=("sacrebleu",))
def chrf(sample: Sample, *, word_order: int = 0) -> Score:
    """chrF as sacrebleu counts it, from 0 to 1; `word_order: 2` is chrF++."""
    if (missing := _missing(sample)) is not None:
        return missing
    result = _chrf(word_order).sentence_score(sample.answer, [*references(sample.expected or "")])
    return Score(value=_share(result.score), details={"signature": str(_chrf(word_order).get_signature())})


@scorer_maker("rouge", needs=("rouge-score",))
def rouge(
    *,
    kind: Literal["rouge1", "rouge2", "rougeL", "rougeLsum"] = "rougeL",
    of: Literal["fmeasure", "precision", "recall"] = "fmeasure",
    stemmer: bool = True,
) -> Scorer:
    """ROUGE as Google's rouge-score counts it: by default the F measure of rougeL, the best over the references."""
    if kind not in ("rouge1", "rouge2", "rougeL", "rougeLsum") or of not in ("fmeasure", "precision", "recall"):
        raise Invalid(f"there is no {of} of {kind!r}", hint="kind: rouge1, rouge2, rougeL or rougeLsum")

    def score(sample: Sample) -> Score:
        if (missing := _missing(sample)) is not None:
            return missing
        counted = [_rouge(kind, stemmer).score(each, sample.answer)[kind] for each in references(sample.expected or "")]
        best = max(counted, key=lambda each: float(getattr(each, of)))
        return Score(
            value=float(getattr(best, of)), details={part: float(getattr(best, part)) for part in best._fields}
        )

    return score


@scorer("edit_distance", needs=("rapidfuzz",), quick=True)
def edit_distance(answer: str, expected: str) -> float:
    """1 less the share of letters that must be inserted, deleted or replaced to get from one to the other."""
    try:
        from rapidfuzz.distance import Levenshtein
    except ImportError:
        raise MissingExtra("edit distances are counted by rapidfuzz", hint=_EXTRA) from None
    return float(Levenshtein.normalized_similarity(answer, expected))


@scorer_maker("similarity", needs=("an embedder",))
def similarity(*, means: Means, model: str | None = None) -> Scorer:
    """The cosine of answer and expected text as an embedder sees them; what points apart is 0."""

    def score(sample: Sample) -> Score:
        if (missing := _missing(sample)) is not None:
            return missing
        embedder = means.embedder(model)
        try:
            answer, *wanted = embed(embedder, [sample.answer or "", *references(sample.expected or "")])
        except Unavailable as error:
            return Score(error=error.message, details=_model(embedder))
        return Score(value=max(0.0, min(1.0, max(cosine(answer, each) for each in wanted))), details=_model(embedder))

    return score


def cosine(one: list[float], other: list[float]) -> float:
    """Return the cosine of the angle between two vectors; 0.0 where one has no direction."""
    lengths = math.hypot(*one) * math.hypot(*other)
    return math.fsum(a * b for a, b in zip(one, other, strict=True)) / lengths if lengths else 0.0


def _model(embedder: ChatModel) -> dict[str, str]:
    return {"embedder": embedder.model}


def _missing(sample: Sample) -> Score | None:
    if sample.answer is None:
        return Score(error="no answer")
    return Score(error="no expected answer") if sample.expected is None else None


def _share(percent: float) -> float:
    return max(0.0, min(1.0, percent / 100))  # sacrebleu's 100 is 100.00000000000004


@cache
def _bleu(tokenize: str) -> Any:
    try:
        from sacrebleu.metrics.bleu import BLEU
    except ImportError:
        raise MissingExtra("BLEU is counted by sacrebleu", hint=_EXTRA) from None
    return BLEU(tokenize=tokenize, effective_order=True)


@cache
def _chrf(word_order: int) -> Any:
    try:
        from sacrebleu.metrics.chrf import CHRF
    except ImportError:
        raise MissingExtra("chrF is counted by sacrebleu", hint=_EXTRA) from None
    return CHRF(word_order=word_order)


@cache
def _rouge(kind: str, stemmer: bool) -> Any:
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError:
        raise MissingExtra("ROUGE is counted by rouge-score", hint=_EXTRA) from None
    return RougeScorer([kind], use_stemmer=stemmer)

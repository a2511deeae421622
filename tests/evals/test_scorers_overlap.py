from __future__ import annotations

import importlib
import math
from typing import Any

import pytest

from evals import scorers
from evals.samples import Sample
from tests.evals.asked import server_that_answers

PAIRS = [
    ("the cat sat on the mat", "the cat is on the mat"),
    (
        "It is a guide to action which ensures that the military obeys.",
        "It is a guide to action that ensures obedience.",
    ),
    ("", "something"),
    ("Übung macht den Meister", "Übung macht den Meister"),
]


def sample(answer: str, expected: str) -> Sample:
    return Sample(number=0, row="", inputs={}, answer=answer, expected=expected)


def value(name: str, answer: str, expected: str, **settings: Any) -> float:
    found = scorers.get(name, **settings)(sample(answer, expected)).value
    assert found is not None
    return found


@pytest.mark.parametrize(("answer", "expected"), PAIRS)
def test_bleu_and_chrf_are_those_of_sacrebleu(answer: str, expected: str) -> None:
    sacrebleu = importlib.import_module("sacrebleu")
    assert value("bleu", answer, expected) == pytest.approx(sacrebleu.sentence_bleu(answer, [expected]).score / 100)
    assert value("chrf", answer, expected) == pytest.approx(sacrebleu.sentence_chrf(answer, [expected]).score / 100)


@pytest.mark.parametrize(("answer", "expected"), PAIRS)
@pytest.mark.parametrize("kind", ["rouge1", "rouge2", "rougeL"])
def test_rouge_is_that_of_rouge_score(answer: str, expected: str, kind: str) -> None:
    reference = importlib.import_module("rouge_score.rouge_scorer").RougeScorer([kind], use_stemmer=True)
    assert value("rouge", answer, expected, kind=kind) == reference.score(expected, answer)[kind].fmeasure


def test_edit_distance_counts_letters() -> None:
    assert value("edit_distance", "kitten", "sitting") == pytest.approx(1 - 3 / 7)


def test_the_best_of_several_right_answers_counts() -> None:
    for name in ("bleu", "chrf", "rouge", "edit_distance", "f1", "exact", "normalized"):
        assert value(name, "yellow submarine", '["blue", "yellow submarine"]') == pytest.approx(1.0)


def test_similarity_is_the_cosine_of_what_an_embedder_sees() -> None:
    vectors = {"a cat": [1.0, 0.0], "a kitten": [0.6, 0.8], "a car": [-1.0, 0.0]}

    def embedded(request: dict[str, Any]) -> dict[str, Any]:
        texts = enumerate(request["input"])
        return {"data": [{"index": index, "embedding": vectors[text]} for index, text in reversed([*texts])]}

    with server_that_answers(embedded) as model:
        means = scorers.Means(embedder=lambda _: model)
        near = scorers.get("similarity", means=means)
        assert math.isclose(near(sample("a cat", "a kitten")).value or 0, 0.6)
        assert near(sample("a cat", "a car")).value == 0.0
        assert math.isclose(near(sample("a cat", '["a car", "a kitten"]')).value or 0, 0.6)


def test_an_embedder_that_gives_no_vectors_is_an_error_and_no_zero() -> None:
    with server_that_answers(lambda _: {"data": []}) as model:
        score = scorers.get("similarity", means=scorers.Means(embedder=lambda _: model))(sample("a", "b"))
    assert score.value is None
    assert "no vectors" in str(score.error)

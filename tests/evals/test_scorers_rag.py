from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from evals import scorers
from evals.samples import Sample, Score
from tests.evals.asked import said, server_that_answers

DOCUMENTS = [
    {"id": "louvre", "content": "The Louvre in Paris opened in 1793 and holds the Mona Lisa."},
    {"id": "prado", "content": "The Prado in Madrid opened in 1819."},
]


def sample(
    answer: str | None, *, contexts: Sequence[Any] | None = DOCUMENTS, row: Mapping[str, Any] | None = None
) -> Sample:
    outputs = {} if contexts is None else {"contexts": contexts}
    question = {"question": "When did the Louvre open?"}
    return Sample(number=0, row="", inputs=question, answer=answer, outputs=outputs, metadata=row or {})


def scored(name: str, answer: str | None = "x", **given: Any) -> Score:
    return scorers.get(name)(sample(answer, **given))


def test_precision_rewards_right_contexts_that_stand_first() -> None:
    first = scored("context_precision", row={"expected_contexts": ["louvre"]})
    second = scored("context_precision", row={"expected_contexts": ["prado"]})
    none = scored("context_precision", row={"expected_contexts": ["uffizi"]})
    assert (first.value, second.value, none.value) == (1.0, 0.5, 0.0)


def test_recall_is_the_share_that_was_found_by_id_or_by_text() -> None:
    row = {"expected_contexts": ["prado", "the louvre in paris opened in 1793", "uffizi"]}
    assert scored("context_recall", row=row).value == pytest.approx(2 / 3)
    assert (
        scored("context_recall", contexts=["It opened in 1819."], row={"expected_contexts": ["opened in 1819"]}).value
        == 1.0
    )


def test_what_our_index_finds_is_named_by_its_file_or_place() -> None:
    found = [{"text": "28 days", "source": "time-off.md", "place": "time-off.md:5", "score": 0.9}]
    for name in ("time-off.md", "time-off.md:5", "28 days"):
        assert scored("context_recall", contexts=found, row={"expected_contexts": [name]}).value == 1.0
    assert scored("context_recall", contexts=found, row={"expected_contexts": ["travel.html"]}).value == 0.0


@pytest.mark.parametrize("name", ["context_precision", "context_recall", "grounded", "citations", "faithfulness"])
def test_without_contexts_there_is_no_score_and_no_zero(name: str) -> None:
    assert scored(name, contexts=None, row={"expected_contexts": ["a"]}).value is None


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        ("The Louvre opened in 1793 [1].", 1.0),
        ("The Louvre opened in 1793 [1]. The Prado opened in 1819 [2].", 1.0),
        ("The Louvre opened in 1793 [2].", 0.0),
        ("The Louvre opened in 1793 [7].", 0.0),
        ("The Louvre opened in 1793 [1]. Madrid is warm and has nine airports [2].", 0.5),
        ("The Louvre opened in 1793.", 0.0),
    ],
)
def test_citations_must_exist_and_have_the_words_of_what_cites_them(answer: str, value: float) -> None:
    assert scored("citations", answer).value == value


def test_a_number_that_no_context_has_is_not_grounded() -> None:
    assert scored("grounded", "The Louvre opened in 1793. It holds the Mona Lisa.").value == 1.0
    score = scored("grounded", "The Louvre opened in 1893. It holds the Mona Lisa.")
    assert score.value == 0.5
    assert score.details["wrong"] == ["The Louvre opened in 1893."]


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        ({"claims": [{"claim": "a", "supported": True}, {"claim": "b", "supported": False}]}, 0.5),
        ({"claims": []}, 1.0),
        ({"claims": [{"claim": "a", "supported": "maybe"}]}, None),
        ({"verdict": "fine"}, None),
    ],
)
def test_a_judge_lists_the_claims_that_the_contexts_support(reply: Any, value: float | None) -> None:
    asked: list[dict[str, Any]] = []

    def answer(request: dict[str, Any]) -> object:
        asked.append(request)
        return said(json.dumps(reply))

    with server_that_answers(answer) as chat:
        score = scorers.get("faithfulness", means=scorers.Means(model=lambda _: chat))(sample("It opened in 1793."))
    assert score.value == value
    assert (score.error is None) == (value is not None)
    assert "[1] The Louvre in Paris" in asked[0]["messages"][1]["content"]
    assert asked[0]["response_format"]["type"] == "json_schema"


def test_relevance_is_the_nearness_of_question_and_answer() -> None:
    def embedded(request: dict[str, Any]) -> dict[str, Any]:
        vectors = [[1.0, 0.0], [0.8, 0.6]]
        return {"data": [{"index": n, "embedding": vectors[n]} for n in range(len(request["input"]))]}

    with server_that_answers(embedded) as model:
        found = scorers.get("answer_relevance", means=scorers.Means(embedder=lambda _: model))(sample("In 1793."))
    assert found.value == pytest.approx(0.8)

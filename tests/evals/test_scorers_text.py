from __future__ import annotations

import pytest

from evals import scorers
from evals.samples import Sample
from workspace.errors import NotFound


@pytest.mark.parametrize(
    ("scorer", "answer", "expected", "value"),
    [
        ("exact", " paris ", "Paris", 1.0),
        ("exact", "Paris.", "Paris", 0.0),
        ("normalized", "The Nile.", "nile", 1.0),
        ("normalized", "Nile river", "Nile", 0.0),
        ("contains", "It was Leonardo da Vinci, of course.", "Leonardo da Vinci", 1.0),
        ("contains", "category", "cat", 0.0),
        ("contains", "anything", "", 0.0),
        ("numeric", "12 + 30 = 42", "42", 1.0),
        ("numeric", "about 1,250.50 euros", "1250.5", 1.0),
        ("numeric", "forty-two", "42", 0.0),
        ("numeric", "-3", "3", 0.0),
    ],
)
def test_scorers_compare_an_answer_with_the_expected_one(scorer: str, answer: str, expected: str, value: float) -> None:
    sample = Sample(number=0, row="", inputs={}, answer=answer, expected=expected)
    assert scorers.get(scorer)(sample).value == value


def test_a_row_without_an_expected_answer_is_an_error_and_not_a_wrong_answer() -> None:
    score = scorers.get("exact")(Sample(number=0, row="", inputs={}, answer="Paris"))
    assert score.value is None
    assert score.error == "no expected answer"


def test_an_unknown_scorer_is_refused_with_a_suggestion() -> None:
    with pytest.raises(NotFound) as caught:
        scorers.get("exakt")
    assert caught.value.hint == "did you mean 'exact'?"

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals import scorers
from evals.samples import Sample, Score
from evals.scorers.applied import guarded
from evals.scorers.text import chosen_letter
from workspace.errors import Invalid, NotFound


def scored(name: str, answer: str | None, expected: str | None, *, row: Any = None, **settings: Any) -> Score:
    made = Sample(number=0, row="", inputs={}, answer=answer, expected=expected, metadata=row or {})
    return scorers.get(name, **settings)(made)


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
        ("f1", "the cat sat", "a cat sat down", 0.8),
        ("f1", "", "word", 0.0),
        ("f1", "the", "a", 1.0),
        ("regex", "order 66", r"\d{2}", 1.0),
        ("regex", "order", r"\d{2}", 0.0),
        ("regex", "grey", '["gray", "grey"]', 1.0),
        ("exact", "four", '["4", "four"]', 1.0),
        ("exact", "five", '["4", "four"]', 0.0),
        ("numeric", "it is 7", "[6, 7]", 1.0),
    ],
)
def test_scorers_compare_an_answer_with_the_expected_one(scorer: str, answer: str, expected: str, value: float) -> None:
    assert scored(scorer, answer, expected).value == pytest.approx(value)


def test_numbers_may_differ_by_a_tolerance() -> None:
    assert scored("numeric", "3.15", "3.14159", tolerance=0.01).value == 1.0
    assert scored("numeric", "3.16", "3.14159", tolerance=0.01).value == 0.0
    assert scored("numeric", "1010", "1000", relative=0.02).value == 1.0


def test_what_a_pattern_finds_is_compared_with_the_expected_answer() -> None:
    pattern = r"#### (?P<number>\d+)"
    assert scored("regex", "so\n#### 42", "42", pattern=pattern, group="number").value == 1.0
    assert scored("regex", "so\n#### 41", "42", pattern=pattern, group=1).value == 0.0
    assert scored("regex", "anything #### 5", None, pattern=pattern).value == 1.0
    assert scored("regex", "42", "42", pattern=pattern, group=1).value == 0.0


@pytest.mark.parametrize("settings", [{"pattern": "("}, {"pattern": "a", "group": 1}, {"pattern": "a", "group": "no"}])
def test_a_pattern_that_is_none_is_refused_before_anything_is_scored(settings: Any) -> None:
    with pytest.raises(Invalid):
        scorers.get("regex", **settings)


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("B", "B"),
        ("(b)", "B"),
        ("The answer is B.", "B"),
        ("Answer: **C**", "C"),
        ("b) blue", "B"),
        ("Blue.", "B"),
        ("I think A is right", "A"),
        ("A cat would choose B", "B"),
        ("It must be blue, surely", "B"),
        ("A or B", None),
        ("red or blue", None),
        ("The answer is A. No, the answer is B.", None),
        ("no idea", None),
        ("", None),
    ],
)
def test_one_choice_is_read_from_an_answer_or_none(answer: str, letter: str | None) -> None:
    assert chosen_letter(answer, {"A": "red", "B": "blue", "C": "green"}) == letter


@pytest.mark.parametrize("expected", ["B", "blue", "1", '["A", "B"]'])
def test_a_choice_is_expected_as_letter_text_or_number(expected: str) -> None:
    assert scored("choice", "It is (B)", expected, row={"choices": ["red", "blue"]}).value == 1.0


def test_the_choices_of_the_hub_are_read() -> None:
    row = {"choices": {"label": ["1", "2"], "text": ["red", "blue"]}}
    assert scored("choice", "blue", "2", row=row).value == 1.0


def test_an_expected_answer_that_is_no_choice_is_an_error() -> None:
    assert scored("choice", "A", "purple", row={"choices": ["red", "blue"]}).value is None


@given(st.text(max_size=200), st.lists(st.text(max_size=20), min_size=1, max_size=5))
def test_whatever_is_answered_one_of_the_choices_is_read_or_none(answer: str, texts: list[str]) -> None:
    choices = dict(zip("ABCDE", texts, strict=False))
    assert chosen_letter(answer, choices) in {None, *choices}


@given(st.text(max_size=100), st.text(max_size=100))
def test_every_quick_scorer_gives_a_share_whatever_the_texts(answer: str, expected: str) -> None:
    for name in ("exact", "normalized", "contains", "numeric", "f1", "edit_distance"):
        value = scored(name, answer, expected).value
        assert value is not None
        assert 0.0 <= value <= 1.0


def test_a_row_without_an_expected_answer_is_an_error_and_not_a_wrong_answer() -> None:
    for name in ("exact", "choice", "f1", "bleu", "rouge", "json_match", "tool_calls", "sql"):
        score = scored(name, "Paris", None)
        assert score.value is None
        assert "no expected answer" in str(score.error)


def test_an_unknown_scorer_is_refused_with_a_suggestion() -> None:
    with pytest.raises(NotFound) as caught:
        scorers.get("exakt")
    assert caught.value.hint == "did you mean 'exact'?"


@pytest.mark.parametrize("text", ["```\n", "a ", "(A) ", "[1, ", "{", "is ", "A. ", "12-"])
def test_no_long_answer_of_one_sort_keeps_a_scorer_busy(text: str) -> None:
    """What grew with the square of the length would meet the time limit of tests."""
    for name in ("choice", "numeric", "contains", "f1", "pii", "toxicity", "refusal"):
        assert scored(name, text * 60_000, "A", row={"choices": ["x", "y"]}).value is not None


def test_a_pattern_that_needs_centuries_is_an_error_of_its_row_and_holds_nobody_up() -> None:
    row = Sample(number=0, row="", inputs={}, answer="ab" * 40 + "c")
    score = scorers.get("regex", pattern=r"^(?:(?:ab|a|b)+)+$", seconds=0.1)
    done: list[Score] = []
    judging = threading.Thread(target=lambda: done.append(guarded(score, row)))
    judging.start()
    looked = 0
    while judging.is_alive():
        time.sleep(0.005)
        looked += 1
    assert looked > 3  # this thread went on meanwhile
    assert done[0].value is None
    assert "takes longer than 0.1 seconds" in str(done[0].error)
    assert guarded(score, replace(row, answer="abab")).value == 1.0

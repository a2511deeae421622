from __future__ import annotations

from collections.abc import Callable

import pytest

from evals.compare import compare
from evals.reports import words
from evals.samples import Sample

Sampled = Callable[[str], tuple[Sample, ...]]


def test_the_headline_says_what_could_have_been_seen_when_nothing_was(sampled: Sampled) -> None:
    comparison = compare(sampled("+" * 1_000), sampled("+" * 1_000))
    assert words.headline(comparison) == "no detectable change (could see at least 0.8 points)"


def test_the_sentence_has_both_rates_the_change_its_interval_and_p(sampled: Sampled) -> None:
    sentence = words.sentence(compare(sampled("+" * 4 + "-" * 6), sampled("-" * 3 + "+" * 7)))
    assert sentence.startswith("'exact' rose from 40.0 % to 70.0 %: +30.0 points (95 % interval ")
    assert sentence.endswith("p = 0.51, 10 rows paired.")
    assert "stayed at 50.0 %" in words.sentence(compare(sampled("+-"), sampled("-+")))


def test_an_underpowered_comparison_says_how_many_rows_it_needs(sampled: Sampled) -> None:
    advice = words.advice(compare(sampled("+" * 20 + "-" * 20), sampled("-" * 4 + "+" * 20 + "-" * 16)))
    assert "A change of 3.0 points needs about 1,742 rows." in advice


def test_rows_left_out_are_a_caution(sampled: Sampled) -> None:
    first, second = words.cautions(compare(sampled("+++-"), sampled("+e+-++")))
    assert first.startswith("1 row without a score")
    assert "0 only before, 2 only after" in second


@pytest.mark.parametrize(
    ("p", "text"), [(0.5, "p = 0.50"), (0.031, "p = 0.031"), (0.00042, "p = 0.00042"), (1e-9, "p < 0.0001")]
)
def test_a_p_value_has_two_digits_that_mean_something(p: float, text: str) -> None:
    assert words.p_value(p) == text

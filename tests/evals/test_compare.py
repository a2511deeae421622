from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from evals.compare import compare, match
from evals.samples import Sample, Score
from workspace.errors import Invalid, NotFound

Sampled = Callable[[str], tuple[Sample, ...]]


def graded(samples: tuple[Sample, ...], values: list[float]) -> tuple[Sample, ...]:
    return tuple(
        replace(sample, scores={"judge": Score(value=value)}) for sample, value in zip(samples, values, strict=True)
    )


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        ("+" * 12 + "-" * 8, "-" * 9 + "+" * 3 + "-" * 8, "regressed"),
        ("-" * 9 + "+" * 11, "+" * 20, "improved"),
        ("+" * 20 + "-" * 20, "-+" + "+" * 18 + "-" * 20, "underpowered"),
        ("+" * 700 + "-" * 300, "-" + "+" * 700 + "-" * 299, "no detectable change"),
    ],
)
def test_one_word_says_what_the_difference_means(sampled: Sampled, before: str, after: str, verdict: str) -> None:
    comparison = compare(sampled(before), sampled(after))
    assert comparison.verdict == verdict
    assert comparison.passed is (verdict != "regressed")


def test_flips_are_the_rows_that_passed_and_now_fail_and_the_other_way_round(sampled: Sampled) -> None:
    comparison = compare(sampled("++--"), sampled("+-+-"))
    assert [pair.after.number for pair in comparison.losses] == [1]
    assert [pair.after.number for pair in comparison.gains] == [2]


def test_a_row_without_an_answer_is_listed_and_counts_neither_for_nor_against(sampled: Sampled) -> None:
    comparison = compare(sampled("+++-"), sampled("+e+-"))
    assert len(comparison.pairs) == 3
    assert comparison.measured.after.estimate == pytest.approx(2 / 3)
    assert [(row.after.number, row.reason) for row in comparison.unscored] == [(1, "after: 503: the model is loading")]


def test_rows_that_only_one_run_has_are_listed(sampled: Sampled) -> None:
    comparison = compare(sampled("++-+"), sampled("++-+-")[1:])
    assert [sample.number for sample in comparison.only_before] == [0]
    assert [sample.number for sample in comparison.only_after] == [4]
    assert len(comparison.pairs) == 3


def test_a_row_keeps_its_partner_when_a_line_is_inserted_above_it(sampled: Sampled) -> None:
    moved = tuple(replace(sample, number=sample.number + 1) for sample in sampled("+-+"))
    matched, only_before, only_after = match(sampled("+-+"), moved)
    assert [(one.number, other.number) for one, other in matched] == [(0, 1), (1, 2), (2, 3)]
    assert only_before == only_after == ()


def test_equal_rows_are_paired_in_the_order_of_their_lines(sampled: Sampled) -> None:
    one, other = (tuple(replace(sample, row="same") for sample in sampled(marks)) for marks in ("+-+", "+-"))
    matched, only_before, _ = match(one, other)
    assert [(left.number, right.number) for left, right in matched] == [(0, 0), (1, 1)]
    assert [sample.number for sample in only_before] == [2]


def test_grades_are_compared_by_their_means(sampled: Sampled) -> None:
    before, after = graded(sampled("-" * 20), [0.25] * 20), graded(sampled("-" * 20), [0.5] * 14 + [0.25, 0.0] * 3)
    comparison = compare(before, after)
    assert not comparison.measured.binary
    assert comparison.measured.change.estimate == pytest.approx(0.1375)
    assert comparison.measured.second_test is not None
    assert comparison.verdict == "improved"


def test_grades_that_did_not_move_at_all_are_no_detectable_change_when_rows_are_many(sampled: Sampled) -> None:
    same = graded(sampled("-" * 1_000), [0.25, 0.75] * 500)
    assert compare(same, same).verdict == "no detectable change"


def test_two_runs_that_changed_places_have_the_opposite_verdict(sampled: Sampled) -> None:
    one, other = sampled("+" * 12 + "-" * 8), sampled("-" * 12 + "-" * 8)
    assert compare(one, other).verdict == "regressed"
    assert compare(other, one).verdict == "improved"


def test_a_metric_that_only_one_run_has_is_refused(sampled: Sampled) -> None:
    with pytest.raises(Invalid, match="share no metric"):
        compare(sampled("++"), graded(sampled("++"), [1, 0.5]))
    with pytest.raises(NotFound) as caught:
        compare(sampled("++"), sampled("++"), "exakt")
    assert caught.value.hint == "did you mean 'exact'?"


def test_runs_over_different_data_cannot_be_compared(sampled: Sampled) -> None:
    with pytest.raises(Invalid, match="too few rows"):
        compare(sampled("+++"), tuple(replace(sample, row=f"other {sample.number}") for sample in sampled("+++")))


@pytest.mark.parametrize("margin", [0.0, -0.1, 3.0])
def test_a_margin_that_cannot_be_is_refused(sampled: Sampled, margin: float) -> None:
    with pytest.raises(Invalid, match="margin"):
        compare(sampled("++"), sampled("++"), margin=margin)


def test_a_loss_beyond_the_margin_is_ruled_out_only_by_the_interval(sampled: Sampled) -> None:
    assert compare(sampled("+" * 2_000), sampled("+" * 2_000)).not_worse
    assert not compare(sampled("+" * 20), sampled("+" * 20)).not_worse

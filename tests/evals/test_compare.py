from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from evals.compare import Terms, compare, compare_all
from evals.pairing import pair
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
    paired = pair(sampled("+-+"), moved)
    assert [(one[0].number, other[0].number) for one, other in paired.matched] == [(0, 1), (1, 2), (2, 3)]
    assert paired.only_before == paired.only_after == ()


def test_equal_rows_are_paired_in_the_order_of_their_lines_and_listed(sampled: Sampled) -> None:
    one, other = (tuple(replace(sample, row="same") for sample in sampled(marks)) for marks in ("+-+", "+-"))
    comparison = compare(one, other)
    assert [(left.before.number, left.after.number) for left in comparison.pairs] == [(0, 0), (1, 1)]
    assert [sample.number for sample in comparison.only_before] == [2]
    assert [sample.number for sample in comparison.duplicates] == [1]


def test_rows_with_an_id_and_another_content_are_said_to_be_edited(sampled: Sampled) -> None:
    edited = tuple(replace(sample, row="new") if sample.number == 1 else sample for sample in sampled("+-+"))
    comparison = compare(sampled("+-+"), edited)
    assert [(before.name, after.row) for before, after in comparison.edited] == [("q01", "new")]
    assert len(comparison.pairs) == 2


def repeated(samples: tuple[Sample, ...], epochs: int) -> tuple[Sample, ...]:
    return tuple(replace(sample, epoch=epoch) for epoch in range(1, epochs + 1) for sample in samples)


def test_a_row_that_was_asked_again_is_one_row_and_its_mean(sampled: Sampled) -> None:
    """Ten rows asked five times are ten rows: as many independent rows would make the same change sure."""
    before, after = sampled("+" * 6 + "-" * 4), sampled("-" * 5 + "+" + "-" * 4)
    once, often = compare(before, after), compare(repeated(before, 5), repeated(after, 5))
    assert len(often.pairs) == 10
    assert often.repeats == 5
    assert often.measured == once.measured
    assert often.verdict == "underpowered"


def test_repeats_that_disagree_make_grades(sampled: Sampled) -> None:
    before, again = sampled("+-+-"), tuple(replace(sample, epoch=2) for sample in sampled("++--"))
    comparison = compare((*before, *again), sampled("++++"))
    assert [pair.old for pair in comparison.pairs] == [1.0, 0.5, 0.5, 0.0]
    assert not comparison.measured.binary


def test_rows_of_a_cluster_are_not_counted_as_independent(sampled: Sampled) -> None:
    """Two documents of ten questions each broke: that is two that changed, not twenty."""
    documents = [f"doc {number // 10}" for number in range(200)]

    def within(marks: str) -> tuple[Sample, ...]:
        return tuple(replace(s, cluster=name) for s, name in zip(sampled(marks), documents, strict=True))

    before, after = "+" * 200, "-" * 20 + "+" * 180
    assert compare(sampled(before), sampled(after)).verdict == "regressed"
    clustered = compare(within(before), within(after))
    assert clustered.verdict == "underpowered"
    assert clustered.measured.clusters == 20
    assert clustered.measured.change.low < -0.2


def two_metrics(samples: tuple[Sample, ...], marks: str) -> tuple[Sample, ...]:
    return tuple(
        replace(sample, scores={**sample.scores, "other": Score(value=float(mark == "+"))})
        for sample, mark in zip(samples, marks, strict=True)
    )


def test_several_metrics_are_corrected_together_and_the_verdict_follows(sampled: Sampled) -> None:
    before, after = "+" * 6 + "-" * 30, "-" * 6 + "-" * 30
    assert compare(sampled(before), sampled(after)).verdict == "regressed"
    first, second = compare_all(
        two_metrics(sampled(before), "+" * 36),
        two_metrics(sampled(after), "+" * 36),
        Terms(every=True, correction="holm"),
    )
    assert (first.metric, second.metric) == ("exact", "other")
    assert first.p == pytest.approx(2 * first.measured.test.p)
    assert first.verdict == "underpowered"


def test_slices_say_where_it_broke(sampled: Sampled) -> None:
    def sliced(marks: str) -> tuple[Sample, ...]:
        return tuple(
            replace(s, metadata={"language": "de" if s.number % 2 else "en", "id": str(s.number)})
            for s in sampled(marks)
        )

    found = compare(sliced("+" * 40), sliced("+-" * 20)).slices
    assert [(part.name, part.rows) for part in found] == [("language = de", 20), ("language = en", 20)]
    assert found[0].measured.change.estimate == -1.0
    assert found[0].p < 0.001 < found[1].p


def test_a_run_that_goes_on_may_be_looked_at_and_is_judged_more_carefully(sampled: Sampled) -> None:
    before, after = sampled("+" * 12 + "-" * 28), sampled("-" * 8 + "+" * 4 + "-" * 28)
    assert compare(before, after).verdict == "regressed"
    peeked = compare(before, after, peeking=True)
    assert peeked.p > compare(before, after).p
    assert "always-valid" in peeked.measured.test.method
    assert peeked.verdict == "underpowered"


def test_slices_of_a_run_that_goes_on_are_judged_as_carefully(sampled: Sampled) -> None:
    before, after = (
        [replace(one, metadata={"half": one.number < 20}) for one in sampled(marks)]
        for marks in ("+" * 40, "-" * 8 + "+" * 32)
    )
    peeked, usual = compare(before, after, peeking=True).slices[0], compare(before, after).slices[0]
    assert "always-valid" in peeked.measured.test.method
    assert peeked.p > usual.p


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


def test_what_no_early_look_is_right_for_is_refused(sampled: Sampled) -> None:
    uneven = [replace(sample, cluster="a" if sample.number < 3 else "b") for sample in sampled("+-+-")]
    with pytest.raises(Invalid, match="clusters of different sizes"):
        compare(uneven, uneven, peeking=True)
    half = [*sampled("+-+-"), replace(sampled("+")[0], epoch=2)]
    with pytest.raises(Invalid, match="repeats that are still coming in"):
        compare(sampled("+-+-"), half, peeking=True)

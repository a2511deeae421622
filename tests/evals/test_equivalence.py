from __future__ import annotations

from collections.abc import Callable

import pytest

from evals.equivalence import equivalence
from evals.samples import Sample, Score

Sampled = Callable[[str], tuple[Sample, ...]]


@pytest.mark.parametrize(
    ("one", "other", "verdict"),
    [
        ("+-" * 1_000, "+-" * 1_000, "comparable"),
        ("+-" * 1_000, "-+" + "+-" * 999, "comparable"),
        ("+-" * 1_000, "--" * 100 + "+-" * 900, "not comparable"),
        ("+-" * 50, "--" * 3 + "+-" * 47, "undecided"),  # three points were lost, and it may be noise
        ("+-" * 10, "+-" * 10, "undecided"),  # so few rows show nothing
        ("+-" * 50, "--" + "+-" * 49, "undecided"),
    ],
)
def test_runs_are_comparable_where_no_difference_beyond_the_margin_can_be(
    sampled: Sampled, one: str, other: str, verdict: str
) -> None:
    found = equivalence(sampled(one), sampled(other))
    assert found.verdict == verdict
    assert found.sentence.startswith(verdict)


def test_rows_that_scored_otherwise_and_answers_that_are_alike_are_told(sampled: Sampled) -> None:
    found = equivalence(sampled("++--"), sampled("+-+-"), margin=0.5)
    assert [pair.after.number for pair in found.flips] == [1, 2]
    assert found.same == 2
    assert "2 of 4 rows scored otherwise, 2 answers are alike" in found.sentence


@pytest.mark.parametrize("cluster", [None, "c"])
@pytest.mark.parametrize(("rows", "verdict"), [(2, "undecided"), (100, "undecided"), (200, "comparable")])
def test_grades_that_are_all_alike_need_rows_to_be_comparable_too(rows: int, verdict: str, cluster: str | None) -> None:
    samples = tuple(
        Sample(
            number=number,
            row=str(number),
            inputs={},
            cluster=cluster and f"{cluster}{number}",
            scores={"f1": Score(value=0.3 + 0.1 * (number % 3))},
        )
        for number in range(rows)
    )
    assert equivalence(samples, samples).verdict == verdict

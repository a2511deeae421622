from __future__ import annotations

from collections.abc import Callable

import pytest

from evals.equivalence import equivalence
from evals.samples import Sample

Sampled = Callable[[str], tuple[Sample, ...]]


@pytest.mark.parametrize(
    ("one", "other", "verdict"),
    [
        ("+-" * 1_000, "+-" * 1_000, "comparable"),
        ("+-" * 1_000, "-+" + "+-" * 999, "comparable"),
        ("+-" * 1_000, "--" * 100 + "+-" * 900, "not comparable"),
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

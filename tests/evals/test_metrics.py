from __future__ import annotations

import itertools
from statistics import fmean

import pytest

from evals.metrics import metrics, reduce
from evals.samples import Sample, Score
from workspace.errors import Invalid


def sample(number: int, value: float | None, *, epoch: int = 1, kind: str = "a", cluster: str | None = None) -> Sample:
    return Sample(
        number=number, row=str(number), inputs={}, metadata={"kind": kind}, epoch=epoch, cluster=cluster,
        scores={"exact": Score(value=value, error=None if value is not None else "no answer")},
    )  # fmt: skip


@pytest.mark.parametrize("passed", range(6))
@pytest.mark.parametrize("k", [1, 2, 5])
def test_pass_at_and_pass_all_are_what_counting_all_draws_gives(passed: int, k: int) -> None:
    values = [1.0] * passed + [0.0] * (5 - passed)
    draws = [*itertools.combinations(values, k)]
    assert reduce(f"pass@{k}", values) == pytest.approx(fmean(max(draw) for draw in draws))
    assert reduce(f"pass^{k}", values) == pytest.approx(fmean(min(draw) for draw in draws))


def test_the_other_reducers() -> None:
    assert [reduce(name, [0.0, 1.0, 1.0, 0.5]) for name in ("mean", "mode", "max")] == [0.625, 1.0, 1.0]
    assert reduce("mode", [1.0, 0.0]) == 0.0
    with pytest.raises(Invalid, match="no reducer 'median'"):
        reduce("median", [1.0])


def test_the_row_is_the_unit_and_not_its_repeats() -> None:
    samples = [sample(number, float(number % 2), epoch=epoch) for number in range(20) for epoch in (1, 2, 3)]
    (found,) = metrics(samples)
    assert (found.rows, found.interval.method, found.interval.estimate) == (20, "Wilson", 0.5)


def test_errors_count_for_nothing() -> None:
    (found,) = metrics([sample(0, 1.0), sample(1, None), sample(2, 1.0)])
    assert (found.rows, found.errors, found.interval.estimate) == (2, 1, 1.0)


def test_slices_have_metrics_of_their_own() -> None:
    samples = [sample(number, float(number < 4), kind="ab"[number % 2]) for number in range(8)]
    found = {each.name: each.interval.estimate for each in metrics(samples, slices=("kind",))}
    assert found == {"exact": 0.5, "exact [kind=a]": 0.5, "exact [kind=b]": 0.5}


def test_rows_of_one_cluster_make_the_interval_wider() -> None:
    alone = [sample(number, float(number < 50)) for number in range(100)]
    together = [sample(number, float(number < 50), cluster=str(number // 10)) for number in range(100)]
    narrow, wide = (metrics(each)[0].interval for each in (alone, together))
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


@pytest.mark.parametrize("grade", [1.0, 0.9])
def test_rows_of_one_cluster_show_larger_changes_only(grade: float) -> None:
    alone = [sample(number, grade * (number < 50)) for number in range(100)]
    together = [sample(number, grade * (number < 50), cluster=str(number // 10)) for number in range(100)]
    shown, less = (metrics(each)[0].visible for each in (alone, together))
    assert shown is not None
    assert less is None or less > 2 * shown
    (four,) = metrics([sample(number, float(number % 2), cluster=str(number % 4)) for number in range(60)])
    assert four.visible is None  # four clusters tell as much as four rows

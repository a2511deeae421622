from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from evals import calibration
from evals.calibration import Judge, Label, calibrate, labels, lock_of
from evals.samples import Sample, Score
from evals.scorers.judge import judge, pairwise, rubric_hash
from tests.evals.asked import said, server_that_answers
from workspace import Workspace
from workspace.errors import Invalid

ROWS = [{"question": f"Is {n} even?", "answer": "yes" if n % 3 else "no", "label": bool(n % 3)} for n in range(60)]


def seen(request: dict[str, Any]) -> str:
    return str(request["messages"][1]["content"])


def honest(request: dict[str, Any]) -> object:
    return said("5" if "Answer to grade:\nyes" in seen(request) else "1")


def first_place(request: dict[str, Any]) -> object:
    return said("A")


def graded(sample: Sample) -> Score:
    return Score(value=float(sample.answer == "yes"), details={"rubric": "r1", "model": "model:a:1"})


def by(decide: Callable[[Sample], float | None]) -> Callable[[Sample], Score]:
    def score(sample: Sample) -> Score:
        value = decide(sample)
        error = None if value is not None else "no grade"
        return Score(value=value, error=error, details={"rubric": "r1", "model": "model:a:1"})

    return score


def test_a_judge_that_says_what_people_say_passes_and_may_gate(workspace: Workspace) -> None:
    with server_that_answers(honest, name="judge") as chat:
        found = calibrate(judge(chat, "Correct."), labels(ROWS), repeats=2)
    assert found.judge == Judge(rubric=rubric_hash("Correct."), model="model:judge:3")
    assert (found.kappa.estimate, found.sensitivity.estimate, found.specificity.estimate) == (1.0, 1.0, 1.0)
    assert (found.noise, found.errors, found.passed) == (0.0, 0, True)
    assert lock_of(workspace, found.judge).locked
    asset = calibration.keep(workspace, found)
    lock = lock_of(workspace, found.judge)
    assert (lock.locked, lock.calibration) == (False, asset)
    assert calibration.counts_of(workspace, asset) == found.counts


def test_another_rubric_or_another_model_locks_the_judge_again(workspace: Workspace) -> None:
    calibration.keep(workspace, calibrate(graded, labels(ROWS)))
    assert not lock_of(workspace, Judge(rubric="r1", model="model:a:1")).locked
    assert "model has changed" in lock_of(workspace, Judge(rubric="r1", model="model:a:2")).reason
    assert "rubric has changed" in lock_of(workspace, Judge(rubric="r2", model="model:a:1")).reason
    assert lock_of(workspace, Judge(rubric="r2", model="model:b:1")).reason == "it was never calibrated"
    assert lock_of(workspace, Judge(rubric="r2", model="model:a:1")).locked


def test_a_judge_no_better_than_a_coin_stays_locked_and_a_newer_calibration_counts(workspace: Workspace) -> None:
    asset = calibration.keep(workspace, calibrate(graded, labels(ROWS)))
    coin = calibrate(by(lambda sample: float(sample.number % 2)), labels(ROWS))
    assert not coin.passed
    calibration.keep(workspace, coin)
    lock = lock_of(workspace, coin.judge)
    assert lock.locked
    assert "did not reach its threshold" in lock.reason
    assert asset.version == "1"


def test_rows_without_a_grade_are_errors_and_no_disagreement() -> None:
    found = calibrate(by(lambda s: None if s.number < 5 else float(s.answer == "yes")), labels(ROWS))
    assert (found.errors, found.kappa.estimate) == (5, 1.0)


def test_a_judge_that_grades_nothing_or_is_several_is_refused() -> None:
    with pytest.raises(Invalid, match="graded none of 60 rows: no grade"):
        calibrate(by(lambda _: None), labels(ROWS))

    def two(sample: Sample) -> Score:
        details = {"rubric": "r1", "model": f"m{sample.number % 2}"}
        return Score(value=float(sample.answer == "yes"), details=details)

    with pytest.raises(Invalid, match="2 judges"):
        calibrate(two, labels(ROWS))


def test_repeat_noise_is_the_share_of_rows_that_changed_their_verdict() -> None:
    asked: dict[int, int] = {}

    def unsure(sample: Sample) -> float:
        asked[sample.number] = asked.get(sample.number, 0) + 1
        return float((sample.answer == "yes") != (sample.number < 6 and asked[sample.number] == 2))

    assert calibrate(by(unsure), labels(ROWS), repeats=2).noise == pytest.approx(0.1)


def test_longer_answers_that_are_graded_higher_than_people_would_are_told() -> None:
    rows = [{"answer": "word " * (n + 1), "label": n % 2} for n in range(60)]
    found = calibrate(by(lambda s: min(1.0, s.number / 60)), labels(rows))
    assert found.verbosity is not None
    assert found.verbosity.low > 0


def test_a_judge_of_pairs_that_prefers_the_first_place_is_told_and_its_verdicts_are_ties() -> None:
    rows = [{"question": "?", "answer": f"a{n}", "expected": f"b{n}", "label": n % 2} for n in range(40)]
    with server_that_answers(first_place) as chat:
        found = calibrate(pairwise(chat, "Better."), labels(rows))
    assert found.position is not None
    assert found.position.consistent.estimate == 0.0
    assert found.position.first is not None
    assert found.position.first.estimate == 1.0
    assert not found.passed


@pytest.mark.parametrize(
    ("row", "told"),
    [({"label": 1}, "no 'answer'"), ({"answer": "a"}, "no 'label'"), ({"answer": "a", "label": "maybe"}, "is 'maybe'")],
)
def test_labels_that_cannot_be_read_are_refused_by_their_row(row: dict[str, Any], told: str) -> None:
    with pytest.raises(Invalid, match=re.escape(told)):
        labels([*ROWS, row])


def test_few_labels_are_refused_and_words_are_read() -> None:
    with pytest.raises(Invalid, match="3 labels"):
        labels(ROWS[:3])
    read = labels([{"answer": "a", "label": word} for word in ("pass", "fail", "yes", "0.5", 1, False) * 6])
    assert [each.label for each in read[:6]] == [1.0, 0.0, 1.0, 0.5, 1.0, 0.0]
    assert isinstance(read[0], Label)


def test_what_is_kept_is_json_that_names_the_judge(workspace: Workspace) -> None:
    asset = calibration.keep(workspace, calibrate(graded, labels(ROWS)), data="data:labels:1")
    kept = json.loads(workspace.assets.path(asset).read_text())
    assert kept["judge"] == {"rubric": "r1", "model": "model:a:1"}
    assert kept["kappa"]["estimate"] == 1.0
    assert asset.properties["data"] == "data:labels:1"

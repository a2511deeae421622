"""Performance by truth that comes later: which rows meet, and what is measured of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from jobs.files.monitor import ClassifierThresholds, PerformanceThresholds, RegressorThresholds
from jobs.monitors import frames
from jobs.monitors.measures import Found, Skip
from jobs.monitors.performance import performance
from tests.jobs.monitoring import collect
from workspace.errors import Invalid

NAMES = ({"prediction": "said", "correlation_id": "id"}, {"actual": "meant", "correlation_id": "key"})
Names = tuple[Mapping[str, str], Mapping[str, str]]


def measured(
    answers: Path, truths: Path, thresholds: PerformanceThresholds, names: Names = NAMES, task: str | None = None
) -> Found:
    with frames.open_database() as database:
        sides = tuple(
            frames.load(database, name, place, span=None, source=name)
            for name, place in (("answers", answers), ("truths", truths))
        )
        return performance(database, (sides[0], sides[1]), names, thresholds, task=task)


def values(found: Found) -> dict[str, float | None]:
    return {each.metric: each.value for each in found.measures}


def test_errors_of_numbers_are_measured_of_what_has_a_truth(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,said\nx,1.5\ny,3.0\nz,9.0\n")
    (tmp_path / "t.csv").write_text("key,meant\nx,1.0\ny,5.0\nw,0.0\n")
    wanted = PerformanceThresholds(regression=RegressorThresholds(mae=1.0, rmse=2.0))
    found = measured(tmp_path / "a.csv", tmp_path / "t.csv", wanted)
    assert values(found) == {"mae": 1.25, "mse": 2.125, "rmse": pytest.approx(2.125**0.5), "joined_rows": 2.0}
    assert [each.metric for each in found.measures if each.is_breached] == ["mae"]
    assert found.notes == ["2 of 3 answers have a truth"]


def test_classes_are_the_same_as_numbers_truths_and_words(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,said\nx,1.0\ny,0.0\n")
    (tmp_path / "t.csv").write_text("key,meant\nx,true\ny,false\n")
    wanted = PerformanceThresholds(classification=ClassifierThresholds(accuracy=1.0))
    assert values(measured(tmp_path / "a.csv", tmp_path / "t.csv", wanted))["accuracy"] == 1.0


def test_the_id_of_a_request_is_enough_where_it_had_one_row(tmp_path: Path) -> None:
    answers = collect(tmp_path, "model_outputs", 10, [{"prediction": 1}, {"prediction": 0}])
    (tmp_path / "t.csv").write_text("key,meant\nd10-0,1\nd10-1_0,1\n")
    names: Names = ({}, {"actual": "meant", "correlation_id": "key"})
    wanted = PerformanceThresholds(threshold=0.9)
    found = measured(answers, tmp_path / "t.csv", wanted, names, "classification")
    assert values(found) == {"accuracy": 0.5, "precision": 0.5, "recall": 0.25, "joined_rows": 2.0}
    assert [each.is_breached for each in found.measures] == [True, True, True, False]


def test_what_cannot_be_joined_says_why(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,said\nx,1\n")
    (tmp_path / "t.csv").write_text("key,meant\nother,1\n")
    wanted = PerformanceThresholds(classification=ClassifierThresholds())
    with pytest.raises(Skip, match="no answer of this time has a truth yet"):
        measured(tmp_path / "a.csv", tmp_path / "t.csv", wanted)
    with pytest.raises(Invalid, match="truths: no `actual`"):
        measured(tmp_path / "a.csv", tmp_path / "t.csv", wanted, (NAMES[0], {"correlation_id": "key"}))
    with pytest.raises(Invalid, match="answers has no column 'correlationid' to join by"):
        measured(tmp_path / "a.csv", tmp_path / "t.csv", wanted, ({"prediction": "said"}, NAMES[1]))

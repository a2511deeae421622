from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

from evals import scorers
from evals.samples import Sample
from evals.scorers.mlflow_scorers import as_mlflow, as_score, results, wrapped
from workspace.errors import Invalid, NotFound

SAMPLE = Sample(number=0, row="", inputs={"q": "?"}, answer="Answer: 42", expected="Answer: 42")


@pytest.fixture(scope="module")
def mlflow() -> Any:
    return importlib.import_module("mlflow.genai")


@pytest.mark.parametrize(("pattern", "value"), [("^Answer", 1.0), ("^No", 0.0)])
def test_a_scorer_of_mlflow_is_used_by_its_name(pattern: str, value: float) -> None:
    score = scorers.get("mlflow.RegexMatch", pattern=pattern)(SAMPLE)
    assert score.value == value
    assert "pattern" in score.details["reason"]


def test_unknown_scorers_and_settings_of_mlflow_are_refused() -> None:
    with pytest.raises(NotFound) as caught:
        scorers.get("mlflow.Corectness")
    assert caught.value.hint == "did you mean 'Correctness'?"
    with pytest.raises(Invalid, match="RegexMatch does not take"):
        scorers.get("mlflow.RegexMatch")


def test_a_decorated_scorer_of_mlflow_is_wrapped_and_one_that_raises_is_an_error(mlflow: Any) -> None:
    def equal(outputs: str, expectations: dict[str, str]) -> bool:
        return outputs == expectations["expected_response"]

    def broken(outputs: str) -> bool:
        raise ZeroDivisionError("no")

    assert wrapped(mlflow.scorers.scorer(equal))(SAMPLE).value == 1.0
    score = wrapped(mlflow.scorers.scorer(broken))(SAMPLE)
    assert score.value is None
    assert "ZeroDivisionError" in str(score.error)


@pytest.mark.parametrize(
    ("said", "value"), [("yes", 1.0), ("no", 0.0), (True, 1.0), (0.3, 0.3), ("maybe", None), (None, None)]
)
def test_what_mlflow_says_is_a_number_or_an_error(said: Any, value: float | None) -> None:
    assert as_score(said).value == value


def test_ours_are_scorers_of_an_evaluation_of_mlflow_and_its_results_are_samples(mlflow: Any, tmp_path: Path) -> None:
    root = importlib.import_module("mlflow")
    before = root.get_tracking_uri()
    root.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    try:
        root.create_experiment("e", artifact_location=str(tmp_path / "artifacts"))
        root.set_experiment("e")
        rows = [
            {"inputs": {"q": "a"}, "outputs": "Paris.", "expectations": {"expected_response": "paris"}},
            {"inputs": {"q": "b"}, "outputs": "Rome", "expectations": {"expected_response": '["Roma", "rome"]'}},
            {"inputs": {"q": "c"}, "outputs": "Oslo"},
        ]
        evaluated = mlflow.evaluate(data=rows, scorers=[as_mlflow("normalized")])
    finally:
        root.set_tracking_uri(before)
    samples = {sample.inputs["q"]: sample for sample in results(evaluated)}
    assert {q: sample.scores["normalized"].value for q, sample in samples.items()} == {"a": 1.0, "b": 1.0, "c": None}
    assert "no expected answer" in str(samples["c"].scores["normalized"].error)
    assert (samples["a"].answer, samples["a"].expected) == ("Paris.", "paris")

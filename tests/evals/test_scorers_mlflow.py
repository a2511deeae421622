from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

from evals import scorers
from evals.samples import Sample
from evals.scorers.mlflow_scorers import as_mlflow, as_score, results, wrapped
from tests.evals.asked import said, server_that_answers
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


@pytest.mark.parametrize(
    ("reply", "value", "error"),
    [
        ('{"result": "yes", "rationale": "It is Paris."}', 1.0, None),
        ('{"result": "no", "rationale": "It is not."}', 0.0, None),
        ("It seems fine to me.", None, "Failed to parse response from judge model. Response: It seems fine to me."),
    ],
)
def test_a_scorer_of_mlflow_that_asks_a_model_asks_the_one_that_its_variables_name(
    monkeypatch: pytest.MonkeyPatch, reply: str, value: float | None, error: str | None
) -> None:
    def answer(request: dict[str, Any]) -> object:
        asked.append(request["messages"][-1]["content"])
        return {**said(reply), "id": "1", "object": "chat.completion", "created": 1, "model": "tiny"}

    asked: list[str] = []
    with server_that_answers(answer) as model:
        monkeypatch.setenv("OPENAI_API_KEY", "k")
        monkeypatch.setenv("OPENAI_API_BASE", model.base_url)
        score = scorers.get("mlflow.Correctness", model="openai:/tiny")(SAMPLE)
    assert "<claim>Answer: 42</claim>" in asked[0]
    assert score.value == value
    if error is None:
        assert score.details["model"] == "openai:/tiny"
    else:
        assert error in str(score.error)


def test_without_a_key_a_scorer_of_mlflow_that_asks_a_model_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    score = scorers.get("mlflow.Safety", model="openai:/tiny")(SAMPLE)
    assert score.value is None
    assert "OPENAI_API_KEY environment variable must be set" in str(score.error)

"""Text models as jobs train them: from a training's file to a model that MLflow loads without a pickle."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from finetune.language.given import Given, events
from finetune.language.worker import recipe
from finetune.text.packing import kind_of, pack, weights_of
from jobs import consent
from jobs.files import job_of
from tests.finetune.tiny_models import tiny_chat, tiny_encoder
from workspace.errors import Invalid

Train = Callable[..., Given]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture
def train(base: Path, tmp_path: Path) -> Train:
    """Train in this process what a file would say."""

    def run(rows: list[dict[str, Any]], **asked: Any) -> Given:
        data = tmp_path / "rows.jsonl"
        data.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        written = {"type": "tuning", "base": "tiny", "data": str(data), "learning_rate": 0.005, "warmup": 0} | asked
        job: Any = job_of(written, tmp_path)
        (tmp_path / "work").mkdir()
        given = Given(
            job=job, base=base, base_name="tiny", data=data, validation=None, threads=1,
            work=tmp_path / "work", output=tmp_path / "output",
        )  # fmt: skip
        recipe(job.method)(given)
        return given

    return run


def asked(given: Given, texts: list[str]) -> list[dict[str, Any]]:
    """Ask the model as an MLflow server does."""
    import mlflow.pyfunc
    import pandas

    loaded = mlflow.pyfunc.load_model(str(given.output))
    found: list[dict[str, Any]] = loaded.predict(pandas.DataFrame({"text": texts})).to_dict("records")
    return found


def test_a_classifier_is_left_as_a_model_of_mlflow_and_what_happened_is_told(train: Train) -> None:
    rows = [{"text": f"the {word} number {row}", "label": word} for row in range(12) for word in ("film", "soup")]
    given = train(rows, method="classify", epochs=16, batch_size=8)
    told = [event for _, event in events(given.events)]
    assert told[0].detail is not None
    assert (told[0].detail["rows"], told[0].detail["steps"]) == (24, 48)
    assert any("loss" in (event.values or {}) for event in told if event.kind == "step")
    (measured,) = [event.values for event in told if event.kind == "measured"]
    assert measured is not None
    assert measured["accuracy"] == 1.0
    assert [row["label"] for row in asked(given, ["a good film", "a good soup"])] == ["film", "soup"]
    assert consent.objection(given.output) is None
    assert not [path for path in given.output.rglob("*") if path.suffix in (".pkl", ".bin", ".pt", ".py")]
    assert kind_of(weights_of(given.output)) == "text-classification"


def test_several_labels_are_answered_with_a_score_each(train: Train) -> None:
    rows = [{"text": f"the {word}", "labels": [word, "thing"]} for _ in range(12) for word in ("film", "soup")]
    (row,) = asked(train(rows, method="classify", epochs=6, batch_size=8), ["the film"])
    assert set(row["scores"]) == {"film", "soup", "thing"}
    assert "thing" in row["labels"]


def test_a_tagger_answers_with_names_and_where_they_lie(train: Train) -> None:
    rows = [{"tokens": ["the", word, "in", "Paris"], "tags": ["O", "O", "O", "B-LOC"]} for word in ("film", "car") * 9]
    (row,) = asked(train(rows, method="tag", epochs=12, batch_size=8), ["the house in Paris"])
    assert [(each["text"], each["label"], each["start"]) for each in row["entities"]] == [("Paris", "LOC", 13)]


def test_a_reranker_needs_scores_and_an_embedder_does_not(train: Train) -> None:
    with pytest.raises(Invalid, match="a reranker learns from two texts and a score"):
        train([{"query": "a", "text": "b"}], method="rerank")


def test_a_model_that_neither_classifies_nor_tags_is_not_packed(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="is a LlamaForCausalLM, which neither classifies nor tags"):
        pack(tiny_chat(tmp_path / "chat"), tmp_path / "packed")

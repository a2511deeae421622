from __future__ import annotations

from pathlib import Path

from huggingface_hub import ModelCard

from finetune.after import model_card
from finetune.after.model_card import Result, Story


def test_a_card_is_read_by_the_hubs_own_library(tmp_path: Path) -> None:
    story = Story(
        name="polite", task="chat", method="sft", base_model="org/Base", base_revision="abc", relation="adapter",
        datasets=["rows"], license="mit", languages=["en"], library="peft", settings={"rank": 8, "note": "a|b\nc"},
        results=[Result(dataset="sums", metric="exact", value=0.5, low=0.4, high=0.6, rows=50, run="r1")],
        made={"job": "polite_job"}, use="Ask it.", limits=["It is small."],
    )  # fmt: skip
    card = ModelCard.load(model_card.write(story, tmp_path))
    told = card.data.to_dict()
    assert (told["base_model"], told["base_model_relation"], told["license"]) == ("org/Base", "adapter", "mit")
    assert told["pipeline_tag"] == "text-generation"
    metric = told["model-index"][0]["results"][0]["metrics"][0]
    assert (metric["type"], metric["value"], metric["args"]["confidence_interval"]) == ("exact", 0.5, [0.4, 0.6])
    assert "| note | `a\\|b c` |" in card.text
    assert "(revision `abc`)" in card.text


def test_a_card_without_results_and_base_is_a_card_too(tmp_path: Path) -> None:
    model_card.write(Story(name="prices", task="regression", method="automl", library="sklearn"), tmp_path)
    assert model_card.read(tmp_path)["pipeline_tag"] == "tabular-regression"
    assert "model-index" not in model_card.read(tmp_path)


def test_somebody_elses_broken_card_says_nothing(tmp_path: Path) -> None:
    assert model_card.read(tmp_path) == {}
    (tmp_path / "README.md").write_text("---\n- a list\n---\n# Card\n")
    assert model_card.read(tmp_path) == {}

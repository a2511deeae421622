from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from finetune.text import classify
from finetune.text.settings import Settings, last_checkpoint
from tests.finetune.tiny_models import tiny_encoder
from workspace.errors import Invalid, NotFound

QUICK = Settings(epochs=8, batch_size=16, learning_rate=5e-3, warmup=0, max_length=32)
TEXTS = [f"the {word} in number {row}" for row in range(16) for word in ("film", "soup", "car")]
LABELS = [word for _ in range(16) for word in ("film", "soup", "car")]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def fitted(base: Path, tmp_path_factory: pytest.TempPathFactory) -> classify.Fitted:
    return classify.fit(TEXTS, LABELS, base, into=tmp_path_factory.mktemp("fitted") / "topics", settings=QUICK)


def test_a_classifier_learns_its_classes_and_is_read_again_from_its_folder(fitted: classify.Fitted) -> None:
    assert fitted.classes == classify.classes_of(fitted.folder) == ("car", "film", "soup")
    assert fitted.metrics["accuracy"] == 1.0
    found = classify.probabilities(fitted.folder, ["a very good soup", "the blue car"])
    assert [fitted.classes[place] for place in found.argmax(axis=1)] == ["soup", "car"]
    assert found.sum(axis=1) == pytest.approx([1.0, 1.0])
    assert not list(fitted.folder.parent.glob("*.work"))


def test_a_text_may_have_several_labels_or_none(base: Path, tmp_path: Path) -> None:
    labels = [[word, "thing"] if word != "soup" else [] for word in LABELS]
    fitted = classify.fit(TEXTS, labels, base, into=tmp_path / "many", settings=replace(QUICK, epochs=16))
    found = classify.probabilities(fitted.folder, ["the film", "the soup"]) > 0.5
    assert [[fitted.classes[place] for place in row.nonzero()[0]] for row in found] == [["film", "thing"], []]


def test_a_rare_class_counts_as_much_as_a_frequent_one_where_that_is_asked(base: Path, tmp_path: Path) -> None:
    texts, labels = ["the film"] * 90 + ["the soup"] * 6, ["film"] * 90 + ["soup"] * 6
    settings = replace(QUICK, epochs=6, balance=True, validation=0.2)
    fitted = classify.fit(texts, labels, base, into=tmp_path / "rare", settings=settings)
    assert "fewer than 8 rows, among them 'soup'" in fitted.notes[0]
    assert classify.probabilities(fitted.folder, ["the soup"]).argmax() == 1


@pytest.mark.parametrize(
    ("texts", "labels", "said"),
    [
        ([], [], "no rows to learn from"),
        (["a", "b"], ["yes", "yes"], "all 2 rows are of one class, 'yes'"),
        (["a", " "], ["yes", "no"], "row 2 has no text"),
        (["a"], ["yes", "no"], "1 texts and 2 labels"),
    ],
)
def test_what_cannot_be_learned_is_said_before_anything_is_loaded(
    texts: list[str], labels: list[str], said: str, tmp_path: Path
) -> None:
    with pytest.raises(Invalid, match=said):
        classify.fit(texts, labels, tmp_path, into=tmp_path / "none")


def test_labels_that_only_the_validation_rows_have_are_refused(base: Path, tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="1 labels that no training row has: boat"):
        classify.fit(TEXTS, LABELS, base, into=tmp_path / "x", held_out=(["a boat"], ["boat"]), settings=QUICK)


def test_a_thousand_classes_are_learned_and_the_rare_ones_told(base: Path, tmp_path: Path) -> None:
    texts = [f"number {row}" for row in range(1_000)]
    settings = Settings(epochs=1, batch_size=64, seconds=0.01)
    fitted = classify.fit(texts, texts, base, into=tmp_path / "wide", settings=settings)
    assert len(fitted.classes) == 1_000
    assert fitted.notes == ("1000 of 1000 classes have fewer than 8 rows, among them 'number 0'",)


def test_another_models_tokenizer_is_refused(tmp_path: Path) -> None:
    base = tiny_encoder(tmp_path / "small")
    wide = (base / "tokenizer.json").read_text().replace('"Paris":', '"Rome": 9999, "Paris":')
    (base / "tokenizer.json").write_text(wide)
    with pytest.raises(Invalid, match="the tokenizer knows"):
        classify.fit(TEXTS, LABELS, base, into=tmp_path / "x", settings=QUICK)
    with pytest.raises(NotFound, match="no model in"):
        classify.fit(TEXTS, LABELS, tmp_path, into=tmp_path / "x", settings=QUICK)


def test_a_training_that_was_killed_goes_on_from_its_last_whole_checkpoint(base: Path, tmp_path: Path) -> None:
    heard: list[int] = []

    def stop(step: int, numbers: Mapping[str, float]) -> None:
        if "eval_loss" in numbers and step >= 9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        classify.fit(TEXTS, LABELS, base, into=tmp_path / "m", settings=QUICK, tell=stop)
    work = tmp_path / "m.work"
    newest = last_checkpoint(work)
    assert newest is not None
    weights = Path(newest) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    before = last_checkpoint(work)
    assert before not in (None, newest)
    fitted = classify.fit(
        TEXTS, LABELS, base, into=tmp_path / "m", settings=QUICK, tell=lambda step, _: heard.append(step)
    )
    assert heard[0] > int(str(before).rpartition("-")[2])
    assert fitted.metrics["accuracy"] == 1.0

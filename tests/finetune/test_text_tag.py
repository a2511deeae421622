from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from finetune.text import tag
from finetune.text.classify import Fitted
from finetune.text.settings import Settings
from finetune.text.tag import Span, Tagged
from tests.finetune.tiny_models import tiny_encoder
from workspace.errors import Invalid

QUICK = Settings(epochs=20, batch_size=16, learning_rate=5e-3, warmup=0)
ROWS = [
    Tagged(
        f"the {thing} in {place}", (Span(4, 4 + len(thing), "THING"), Span(8 + len(thing), 8 + len(thing) + 5, "LOC"))
    )
    for thing in ("film", "soup", "car", "red car", "house")
    for place in ("Paris", "Paris")
    for _ in range(3)
]


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    folder = tmp_path_factory.mktemp("tagger")
    return tag.fit(ROWS, tiny_encoder(folder / "base"), into=folder / "ner", settings=QUICK, held_out=ROWS)


def test_names_are_found_where_they_lie(fitted: Fitted) -> None:
    assert fitted.metrics["f1"] == 1.0
    (found,) = tag.Tagger(fitted.folder).entities(["the red car in Paris"])
    assert [(each.text, each.label, each.start, each.end) for each in found] == [
        ("red car", "THING", 4, 11),
        ("Paris", "LOC", 15, 20),
    ]
    assert all(0.2 < each.score <= 1 for each in found)


def test_words_and_tags_of_conll_are_a_text_with_spans() -> None:
    row = tag.of_words(["Ann", "Lee", "saw", "Rome", "Oslo"], ["B-PER", "I-PER", "O", "I-LOC", "B-LOC"])
    assert row == Tagged("Ann Lee saw Rome Oslo", (Span(0, 7, "PER"), Span(12, 16, "LOC"), Span(17, 21, "LOC")))
    with pytest.raises(Invalid, match="the tag 'PER' is none of"):
        tag.of_words(["Ann"], ["PER"])


def test_a_name_counts_only_whole() -> None:
    tags = ("O", "B-PER", "I-PER")
    said = [[[0, 1, 0], [0, 0, 1], [1, 0, 0]], [[0, 1, 0], [1, 0, 0], [0, 0, 0]]]
    assert tag.scores(said, [[1, 2, 2], [1, 0, -100]], tags) == pytest.approx(
        {"precision": 0.5, "recall": 0.5, "f1": 0.5}
    )


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "no rows to learn from"),
        ([Tagged("nothing here")], "none of the 1 rows has a name"),
        ([Tagged("Ann", (Span(0, 4, "PER"),))], "row 1: 0 to 4 is not in its 3 letters"),
    ],
)
def test_what_cannot_be_learned_is_said(rows: list[Tagged], said: str, tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=said):
        tag.fit(rows, tmp_path, into=tmp_path / "none")


def test_names_that_only_the_validation_rows_have_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="names of 'BOAT'"):
        tag.fit(
            ROWS, tmp_path, into=tmp_path / "x", held_out=[Tagged("a boat", (Span(2, 6, "BOAT"),))],
            settings=replace(QUICK, epochs=1),
        )  # fmt: skip

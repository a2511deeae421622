from __future__ import annotations

import json
from pathlib import Path

import pytest

from finetune.text import rows
from finetune.text.tag import Span, Tagged
from workspace.errors import Invalid


def write(path: Path, *lines: object) -> Path:
    path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
    return path


def test_texts_and_labels_are_found_by_what_columns_are_usually_called(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.csv", "utterance,intent", "where is it?,location", "pay now,payment")
    assert rows.labelled(path, {}) == (["where is it?", "pay now"], ["location", "payment"])
    path = write(tmp_path / "rows.jsonl", {"q": "a", "c": 3}, {"q": "b", "c": 4})
    assert rows.labelled(path, {"text": "q", "label": "c"}, 1) == (["a"], ["3"])


def test_labels_may_be_lists_also_as_text(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.csv", "text,labels", "one,\"['a', 'b']\"", "two,[]")
    assert rows.labelled(path, {}) == (["one", "two"], [["a", "b"], []])
    path = write(tmp_path / "rows.jsonl", {"text": "x", "labels": ["a"]}, {"text": "y", "labels": "b"})
    assert rows.labelled(path, {})[1] == [["a"], ["b"]]


def test_names_come_from_conll_and_from_rows_of_words_or_spans(tmp_path: Path) -> None:
    path = write(tmp_path / "a.conll", "-DOCSTART- -X- O", "", "Ann NNP B-PER", "ran VBD O", "", "Rome NNP B-LOC")
    wanted = [Tagged("Ann ran", (Span(0, 3, "PER"),)), Tagged("Rome", (Span(0, 4, "LOC"),))]
    assert rows.tagged(path, {}) == wanted
    path = write(
        tmp_path / "a.jsonl",
        {"tokens": ["Ann", "ran"], "ner_tags": ["B-PER", "O"]},
        {"text": "Rome", "spans": [{"start": 0, "end": 4, "label": "LOC"}]},
    )
    assert rows.tagged(path, {}) == wanted


def test_pairs_are_told_by_their_columns(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.jsonl",
        {"query": "a", "positive": "b"},
        {"anchor": "a", "positive": "b", "negative": "c"},
        {"sentence1": "a", "sentence2": "b", "score": "0.5"},
    )
    assert rows.paired(path, {}) == [("a", "b"), ("a", "b", "c"), ("a", "b", 0.5)]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], "rows.jsonl.*the data has no rows"),
        (
            [{"text": "a", "label": "b"}, {"text": "a"}],
            r"rows\.jsonl:2: the row is not a text and a label: it has text",
        ),
        ([{"text": " ", "label": "b"}], r"rows\.jsonl:1: the row has no text"),
        ([{"text": "a", "label": "b"}, '{"text": '], r"rows\.jsonl:2"),
    ],
)
def test_a_row_that_teaches_nothing_is_named_with_its_line(tmp_path: Path, lines: list[object], said: str) -> None:
    with pytest.raises(Invalid, match=said):
        rows.labelled(write(tmp_path / "rows.jsonl", *lines), {})


def test_a_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", {"tekst": "a", "label": "b"})
    with pytest.raises(Invalid, match="there is no column 'text2'"):
        rows.labelled(path, {"text": "text2"})
    path = write(tmp_path / "a.jsonl", {"tokens": ["a"], "tags": ["PER"]})
    with pytest.raises(Invalid, match=r"a\.jsonl:1: the tag 'PER' is none of"):
        rows.tagged(path, {})

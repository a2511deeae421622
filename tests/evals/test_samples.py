from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from evals.samples import LOG, Sample, Score, as_line, read, row_id
from workspace.errors import Invalid, NotFound

SAMPLE = Sample(
    number=3,
    row="ab",
    inputs={"q": "é\n"},
    name="q4",
    answer="\U0001f600",
    scores={"exact": Score(value=0.5, details={"a": 1})},
)


def test_a_sample_comes_back_from_its_log_as_it_was(tmp_path: Path) -> None:
    (tmp_path / LOG).write_text(as_line(SAMPLE), encoding="utf-8")
    assert read(tmp_path) == (SAMPLE,)


def test_half_a_surrogate_pair_is_no_obstacle_to_whoever_reads_the_log(tmp_path: Path) -> None:
    torn = replace(SAMPLE, answer="a\ud83d", outputs={"\udc00": ["\ud83d", float("nan"), 2**70]})
    (tmp_path / LOG).write_text(as_line(torn), encoding="utf-8")
    (found,) = read(tmp_path)
    assert (found.answer, found.outputs["\ufffd"][0], found.inputs) == ("a\ufffd", "\ufffd", SAMPLE.inputs)
    assert as_line(found).encode()


def test_a_last_line_cut_short_by_a_crash_is_left_out(tmp_path: Path) -> None:
    (tmp_path / LOG).write_text(as_line(SAMPLE) + as_line(SAMPLE)[:40], encoding="utf-8")
    assert len(read(tmp_path)) == 1


def test_a_line_that_is_no_sample_is_refused_with_its_place(tmp_path: Path) -> None:
    (tmp_path / LOG).write_text(as_line(SAMPLE) + '{"number": 1}\n', encoding="utf-8")
    with pytest.raises(Invalid, match=r"samples\.jsonl:2"):
        read(tmp_path)


def test_a_run_without_scores_says_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(NotFound) as caught:
        read(tmp_path)
    assert "eval score" in str(caught.value.hint)


def test_a_row_is_named_by_its_content_whatever_the_order_of_its_keys() -> None:
    assert row_id({"a": 1, "b": "ü"}) == row_id({"b": "ü", "a": 1}) != row_id({"a": 2, "b": "ü"})


def test_a_row_without_an_id_is_called_by_its_line() -> None:
    assert Sample(number=0, row="", inputs={}).label == "row 1"
    assert SAMPLE.label == "q4"

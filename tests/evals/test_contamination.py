from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from evals import contamination
from evals.contamination import Match, compare
from workspace import Workspace
from workspace.errors import Denied, Invalid

WORDS = [f"{one}{two}{three}" for one in "bdfgklmnprst" for two in "aeiou" for three in "nrstlm"]


def sentences(count: int, *, seed: int) -> list[str]:
    chance = random.Random(seed)  # noqa: S311 - rows of a test
    return [" ".join(chance.choices(WORDS, k=chance.randint(20, 40))).capitalize() + "." for _ in range(count)]


def changed(text: str, chance: random.Random) -> str:
    """One word in twenty is another one."""
    words = text.split()
    for place in chance.sample(range(len(words)), max(1, len(words) // 20)):
        words[place] = "qqq"
    return " ".join(words)


def found(rows: Sequence[Mapping[str, Any]], tested: Sequence[Mapping[str, Any]], kind: str) -> set[tuple[int, int]]:
    matches = compare(rows, {"evalset:test:1": tested}).matches
    return {(match.row - 1, match.evalset_row - 1) for match in matches if match.kind == kind}


def test_every_planted_copy_is_found_and_nothing_else() -> None:
    tested = [{"question": text, "answer": "yes"} for text in sentences(300, seed=1)]
    rows = [{"text": text} for text in sentences(3000, seed=2)]
    chance = random.Random(3)  # noqa: S311 - rows of a test
    places = chance.sample(range(len(rows)), 300)
    for number, place in enumerate(places[:100]):
        rows[place] = {"text": tested[number]["question"]}
    for number, place in enumerate(places[100:200], start=100):
        rows[place] = {"text": tested[number]["question"].upper().replace(" ", "  ").rstrip(".") + "!?"}
    for number, place in enumerate(places[200:], start=200):
        rows[place] = {"text": changed(tested[number]["question"], chance)}
    planted = [(place, number) for number, place in enumerate(places)]
    assert found(rows, tested, "exact") == {*planted[:100]}
    assert found(rows, tested, "normalized") == {*planted[100:200]}
    near = found(rows, tested, "near")
    assert near <= {*planted[200:]}
    assert len(near) > 95


def test_a_question_inside_a_conversation_is_found() -> None:
    question = "Natalia sold clips to 48 of her friends in April, and then half as many in May. How many altogether?"
    chat = [
        {"role": "user", "content": f"Please solve this.\n\n{question}\nThink first."},
        {"role": "assistant", "content": "72"},
    ]
    (match,) = compare([{"messages": chat}], {"data:gsm8k:1": [{"question": question, "answer": "72"}]}).matches
    assert (match.kind, match.row, match.evalset_row) == ("normalized", 1, 1)
    assert match.evalset_text.startswith("Natalia")


def test_short_answers_that_stand_everywhere_are_no_contamination() -> None:
    rows = [{"prompt": "Where is the Louvre?", "completion": "Paris"}]
    assert compare(rows, {"evalset:a:1": [{"question": "Capital of France?", "answer": "Paris"}]}).clean
    assert not compare(rows, {"evalset:a:1": [{"q": "where is the louvre", "a": "paris"}]}).clean


def test_rows_without_words_and_empty_sets_match_nothing() -> None:
    assert compare([], {"evalset:a:1": [{"a": ""}]}).clean
    assert compare([{"a": "?"}, {"b": 3}], {"evalset:a:1": [{"a": ""}, {"a": "!"}]}).clean


@pytest.fixture
def with_evalset(workspace: Workspace, tmp_path: Path) -> Workspace:
    tested = tmp_path / "tested.jsonl"
    tested.write_text("".join(json.dumps({"question": text}) + "\n" for text in sentences(20, seed=1)))
    workspace.assets.put("evalset", "arithmetic", tested)
    return workspace


def training(folder: Path, *texts: str) -> Path:
    path = folder / "train.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


def test_data_is_compared_with_every_evalset_and_with_what_eval_runs_have_read(
    with_evalset: Workspace, tmp_path: Path
) -> None:
    read = with_evalset.assets.put("data", "read", training(tmp_path, *sentences(5, seed=9)))
    with_evalset.assets.put("data", "never-read", training(tmp_path, *sentences(5, seed=10)))
    with with_evalset.run("eval", inputs=[read]):
        pass
    overlap = contamination.check(with_evalset, training(tmp_path, sentences(20, seed=1)[6], sentences(5, seed=9)[2]))
    assert overlap.evalsets == {"evalset:arithmetic:1": 20, "data:read:1": 5}
    assert [(m.row, m.evalset, m.evalset_row) for m in overlap.matches] == [
        (1, "evalset:arithmetic:1", 7),
        (2, "data:read:1", 3),
    ]
    assert isinstance(overlap.matches[0], Match)
    assert overlap.as_json()["counts"] == {"exact": 2, "normalized": 0, "near": 0}


def test_training_is_refused_unless_a_reason_is_given_and_that_is_audited(
    with_evalset: Workspace, tmp_path: Path
) -> None:
    path = training(tmp_path, sentences(20, seed=1)[6])
    with pytest.raises(Denied, match="row 1 is row 7 of evalset:arithmetic:1"):
        contamination.require_clean(with_evalset, path)
    with pytest.raises(Invalid):
        contamination.require_clean(with_evalset, path, override_reason=" ")
    contamination.require_clean(with_evalset, path, override_reason="a control run")
    (record, *_) = with_evalset.audit.list(limit=1)
    assert (record.action, record.subject) == ("contamination.override", str(path))
    assert record.after is not None
    assert (record.after["reason"], record.after["exact"]) == ("a control run", 1)


def test_clean_data_passes_without_a_word(with_evalset: Workspace, tmp_path: Path) -> None:
    before = len(with_evalset.audit.list())
    assert contamination.require_clean(with_evalset, training(tmp_path, *sentences(50, seed=4))).clean
    assert len(with_evalset.audit.list()) == before


def test_rows_of_a_table_are_compared_to_their_innermost_texts(workspace: Workspace, tmp_path: Path) -> None:
    parquet, arrow = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("pyarrow")
    (text,) = sentences(1, seed=5)
    workspace.assets.put("evalset", "held", _written(tmp_path / "held.jsonl", {"question": text}))
    folder = tmp_path / "table"
    folder.mkdir()
    rows = [{"messages": [{"role": "user", "content": text}]}]
    parquet.write_table(arrow.Table.from_pylist(rows), folder / "rows.parquet")
    (folder / "MLTable").write_text("paths:\n  - file: ./rows.parquet\ntransformations:\n  - read_parquet:\n")
    assert not contamination.check(workspace, folder).clean


def test_what_was_archived_after_its_last_run_is_no_evaluation_set_until_it_is_run_again(
    workspace: Workspace, tmp_path: Path
) -> None:
    (text,) = sentences(1, seed=6)
    data = workspace.assets.put("data", "asked", _written(tmp_path / "asked.jsonl", {"question": text}))
    with workspace.run("eval", inputs=[data]):
        pass
    assert [asset.ref for asset in contamination.evaluation_sets(workspace)] == [data.ref]
    workspace.assets.archive(data)
    assert contamination.evaluation_sets(workspace) == []
    with workspace.run("eval", inputs=[data.ref]):
        pass
    assert [asset.ref for asset in contamination.evaluation_sets(workspace)] == [data.ref]


def _written(path: Path, row: Mapping[str, Any]) -> Path:
    path.write_text(json.dumps(row) + "\n")
    return path

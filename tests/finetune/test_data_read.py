"""Rows in the forms that people have are read as what they mean, and each that is wrong is told with its line."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from catalog.chat_templates import Message
from finetune.data import read
from finetune.data.read import Found, Problem, Reading
from finetune.data.rows import Conversation, Preference, Row, Text, Verdict
from workspace import Workspace
from workspace.errors import Invalid

USER, SAID = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}
ASKED = (Message("user", "Hi"), Message("assistant", "Hello"))
NO = {"role": "assistant", "content": "No"}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": {"a": 1}}}


def written(path: Path, *rows: Any) -> Path:
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))
    return path


@pytest.mark.parametrize(
    ("row", "meant"),
    [
        ({"messages": [USER, SAID]}, Conversation(number=1, messages=ASKED)),
        (
            {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}], "system": "S"},
            Conversation(number=1, messages=(Message("system", "S"), *ASKED)),
        ),
        ({"prompt": [USER], "completion": [SAID]}, Conversation(number=1, messages=ASKED, muted=frozenset({0}))),
        (
            {"instruction": "Add", "input": "1 2", "output": "3"},
            Conversation(number=1, messages=(Message("user", "Add\n\n1 2"), Message("assistant", "3"))),
        ),
        ({"prompt": "Hi", "response": "Hello"}, Conversation(number=1, messages=ASKED)),
        ({"question": "Hi", "answer": "Hello"}, Conversation(number=1, messages=ASKED)),
        ({"prompt": "2+2=", "completion": "4"}, Text(number=1, prompt="2+2=", completion="4")),
        ({"text": "It rains."}, Text(number=1, prompt="", completion="It rains.")),
        (
            {"prompt": "Hi", "chosen": "Hello", "rejected": "No"},
            Preference(number=1, prompt=ASKED[:1], chosen=ASKED[1:], rejected=(Message("assistant", "No"),)),
        ),
        (
            {"chosen": [USER, SAID], "rejected": [USER, {**SAID, "content": "No"}]},
            Preference(number=1, prompt=ASKED[:1], chosen=ASKED[1:], rejected=(Message("assistant", "No"),)),
        ),
        (
            {"input": {"messages": [USER]}, "preferred_output": [SAID], "non_preferred_output": [NO]},
            Preference(number=1, prompt=ASKED[:1], chosen=ASKED[1:], rejected=(Message("assistant", "No"),)),
        ),
        (
            {"prompt": "Hi", "completion": "Hello", "label": False},
            Verdict(number=1, prompt=ASKED[:1], completion=ASKED[1:], good=False),
        ),
    ],
)  # fmt: skip
def test_a_row_is_read_as_what_it_means(tmp_path: Path, row: Any, meant: Row) -> None:
    assert [*read.read(written(tmp_path / "rows.jsonl", row))] == [meant]


def test_calls_and_functions_are_read_from_objects_and_from_text(tmp_path: Path) -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    talk = [USER, {"role": "assistant", "content": None, "tool_calls": [CALL]}, {"role": "tool", "content": "1"}, SAID]
    texts = {"messages": json.dumps(talk), "tools": json.dumps([tool])}
    one, other = read.read(written(tmp_path / "rows.jsonl", {"messages": talk, "tools": [tool]}, texts))
    assert isinstance(one, Conversation)
    assert isinstance(other, Conversation)
    assert (one.messages, one.tools) == (other.messages, other.tools)
    assert one.messages[1].calls[0].arguments == '{"a": 1}'


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("{", "not JSON"),
        ({"messages": []}, "'messages' must be a list of messages, not an empty list"),
        ({"messages": "Hi"}, "'messages' holds text that is no JSON: 'Hi'"),
        ({"messages": [SAID, USER]}, "turn 1 is the assistant's and follows nothing"),
        ({"messages": [USER, SAID, SAID]}, "turn 3 is the assistant's and follows the assistant's turn"),
        ({"messages": [USER, {"role": "system", "content": "x"}]}, "turn 2 is the system's"),
        ({"messages": [USER]}, "no turn is the assistant's: there is nothing to learn"),
        ({"messages": [USER, {"role": "assistant", "content": " "}]}, "turn 2: the assistant's answer is empty"),
        ({"messages": [USER, {"role": "asistant", "content": "x"}]}, "turn 2: role 'asistant' is not known"),
        ({"messages": [USER, {"role": "assistant", "content": 3}]}, "turn 2: 'content' must be text, not a number"),
        ({"messages": [USER, {"role": "tool", "content": "x"}, SAID]}, "turn 2 answers a call, but the turn before"),
        ({"messages": [{"role": "user"}, SAID]}, "turn 1: the user's 'content' is missing"),
        ({"messages": [{**USER, "content": [{"type": "image_url"}]}, SAID]}, "a part of type 'image_url' cannot"),
        (
            {"messages": [USER, {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "x"}}]}]},
            "turn 2: the arguments of 'f' are no JSON object: 'x'",
        ),
    ],
)
def test_a_row_that_is_wrong_is_told_by_line_and_reason_and_the_others_are_read(
    tmp_path: Path, row: Any, reason: str
) -> None:
    file = written(tmp_path / "rows.jsonl", {"messages": [USER, SAID]}, "", row, {"messages": [USER, SAID]})
    first, problem, last = read.found(file)
    assert isinstance(problem, Problem)
    assert (type(first), type(last)) == (Found, Found)
    assert str(problem).startswith(f"{file}:3: ")
    assert reason in str(problem)
    with pytest.raises(Invalid, match=r"rows.jsonl:3: "):
        [*read.read(file)]


def test_a_file_that_is_not_utf_8_is_told_by_line(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_bytes(b'{"text": "a"}\n{"text": "\xff"}\n')
    with pytest.raises(Invalid, match=r"rows.jsonl:2: not UTF-8"):
        [*read.read(file)]


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.csv", "rows.json"])
def test_an_empty_file_is_told(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_text("[]" if name.endswith(".json") else "")
    with pytest.raises(Invalid, match=f"{name}: the data has no rows"):
        [*read.read(file)]


def test_all_problems_are_told_not_only_the_first(tmp_path: Path) -> None:
    bad = {"messages": [USER]}
    with pytest.raises(Invalid) as caught:
        [*read.read(written(tmp_path / "rows.jsonl", {"messages": [USER, SAID]}, *[bad] * 6))]
    assert "rows.jsonl:3" in str(caught.value.hint)
    assert "and 3 more, see: studiolo finetune data" in str(caught.value.hint)


def test_columns_are_ours_by_a_mapping_and_a_wrong_one_gets_a_hint(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    with file.open("w", newline="") as out:
        csv.writer(out).writerows([["frage", "antwort"], ["Hi", "Hello\nyou"], ["Hi", ""]])
    columns = {"prompt": "frage", "response": "antwort"}
    first, problem = read.found(file, Reading(columns=columns))
    assert isinstance(first, Found)
    assert isinstance(first.row, Conversation)
    assert first.row.messages[1].text == "Hello\nyou"
    assert str(problem) == f"{file}:4: 'response' is empty: there is nothing to learn"
    with pytest.raises(Invalid, match="no column 'antwrt'") as caught:
        [*read.read(file, Reading(columns={**columns, "response": "antwrt"}))]
    assert caught.value.hint == "did you mean 'antwort'?"
    with pytest.raises(Invalid, match="these columns are no form of training rows: frage, antwort"):
        [*read.read(file)]


def test_parquet_tells_the_row_and_a_folder_the_file(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    arrow = pytest.importorskip("pyarrow")
    parquet.write_table(
        arrow.Table.from_pylist([{"messages": [USER, SAID]}, {"messages": [USER]}]), tmp_path / "b.parquet"
    )
    written(tmp_path / "a.jsonl", {"messages": [USER, SAID]})
    *rows, problem = read.found(tmp_path)
    assert [each.row.messages for each in rows if isinstance(each, Found) and isinstance(each.row, Conversation)] == [
        ASKED, ASKED,
    ]  # fmt: skip
    assert str(problem) == f"{tmp_path / 'b.parquet'}: row 3: no turn is the assistant's: there is nothing to learn"


def test_a_table_and_a_data_asset_are_read_like_files(tmp_path: Path, workspace: Workspace) -> None:
    folder = tmp_path / "table"
    folder.mkdir()
    written(folder / "rows.jsonl", {"prompt": "Hi", "response": "Hello"})
    (folder / "MLTable").write_text("paths:\n  - file: ./rows.jsonl\ntransformations:\n  - read_json_lines:\n")
    (row,) = read.read(folder)
    assert isinstance(row, Conversation)
    assert row.messages == ASKED
    workspace.assets.put("data", "talks", written(tmp_path / "talks.jsonl", {"messages": [USER, SAID]}))
    for name in ("data:talks", "data:talks:1", "azureml:talks@latest"):
        assert len([*read.read(read.place(workspace, name))]) == 1

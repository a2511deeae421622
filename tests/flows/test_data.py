"""Rows of data: every kind of file, sources that are joined, mappings; a bad row is alone and has a place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import flows
from flows import data, mapping
from flows.data import BadRow
from flows.flow import Flow, Input
from workspace import Workspace
from workspace.errors import Invalid, NotFound

ROWS: list[dict[str, Any]] = [{"q": "a", "n": "1"}, {"q": "b,c", "n": "2"}]


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def good(path: Path) -> list[dict[str, Any]]:
    return list(data.rows(path))


def bad(path: Path) -> list[str]:
    return [str(row) for row in data.read(path) if isinstance(row, BadRow)]


# Files


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", '{"q": "a", "n": "1"}\n\n{"q": "b,c", "n": "2"}'),
        ("a.jsonl", '\ufeff{"q": "a", "n": "1"}\r\n{"q": "b,c", "n": "2"}\r\n'),
        ("a.json", json.dumps(ROWS)),
        ("a.json", '{"q": ["a", "b,c"], "n": ["1", "2"]}'),
        ("a.json", '{"q": "a", "n": "1"}\n{"q": "b,c", "n": "2"}\n'),
        ("a.csv", 'q,n\na,1\n"b,c",2\n'),
        ("a.csv", '\ufeffq,n\r\na,1\r\n\r\n"b,c",2\r\n'),
        ("a.tsv", "q\tn\na\t1\nb,c\t2\n"),
        ("a.data", '{"q": "a", "n": "1"}\n{"q": "b,c", "n": "2"}\n'),
    ],
)
def test_every_kind_of_file_gives_the_same_rows(tmp_path: Path, name: str, content: str) -> None:
    assert good(write(tmp_path, name, content)) == ROWS


def test_parquet_keeps_its_types(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "a.parquet"
    table = arrow.table({"q": ["a", None], "n": [1, 2], "tags": [["x"], []]})
    parquet.write_table(table, path)
    assert good(path)[0] == {"q": "a", "n": 1, "tags": ["x"]}
    assert good(path)[1]["n"] == 2
    assert data.count(path) == 2


def test_a_folder_is_all_its_files_without_hidden_ones_and_pictures(tmp_path: Path) -> None:
    write(tmp_path, "b.csv", "q\nsecond\n")
    write(tmp_path, "a.jsonl", '{"q": "first"}\n')
    write(tmp_path, ".hidden.jsonl", '{"q": "hidden"}\n')
    write(tmp_path, "deep/c.jsonl", '{"q": "third"}\n')
    write(tmp_path, "picture.png", b"\x89PNG\r\n\x1a\n" + b"\0" * 20)
    assert [row["q"] for row in good(tmp_path)] == ["first", "second", "third"]
    with pytest.raises(NotFound, match="no data files"):
        good(write(tmp_path / "empty", ".keep", "").parent)


def test_numbers_of_any_length_and_odd_texts_come_as_they_are(tmp_path: Path) -> None:
    path = write(tmp_path, "a.jsonl", '{"n": 123456789012345678901234567890, "t": "2024-01-01", "x": null}\n')
    assert good(path) == [{"n": 123456789012345678901234567890, "t": "2024-01-01", "x": None}]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", b'{"a": 1}\nnot json\n{"a": 2}\n', "a.jsonl:2"),
        ("a.jsonl", b'{"a": 1}\n[1, 2]\n', "not a list"),
        ("a.jsonl", b'{"a": 1}\n{"a": 2} {"a": 3}\n', "more after the row"),
        ("a.jsonl", b'{"a": 1}\n{"a": "\xff"}\n', "not UTF-8"),
        ("a.jsonl", b'{"a": 1}\n' + b'{"a":' * 100_000 + b"\n", "a.jsonl:2"),
        ("a.csv", b"a,b\n1,2\n1,2,3\n", "3 cells, but the header has 2"),
        ("a.csv", b"a,b\n1,2\n\xff,2\n", "not UTF-8"),
        ("a.json", b'[{"a": 1}, 5]', "row 2"),
    ],
)
def test_a_bad_row_is_told_with_its_place_and_the_others_come(
    tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    path = write(tmp_path, name, content)
    assert said in bad(path)[0]
    assert any(not isinstance(row, BadRow) for row in data.read(path))


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.json", b"{"), ("a.json", b'"text"'), ("a.json", b'{"a": [1], "b": [1, 2]}'), ("a.bin", b"\0\1\2")],
)
def test_a_file_that_is_no_table_is_refused_whole(tmp_path: Path, name: str, content: bytes) -> None:
    with pytest.raises(Invalid):
        good(write(tmp_path, name, content))


def test_short_rows_and_columns_named_twice_are_read_as_pandas_would_name_them(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", "a,,a\n1\n1,2,3\n")
    assert good(path) == [{"a": "1"}, {"a": "1", "Unnamed: 1": "2", "a.1": "3"}]


@pytest.mark.parametrize(
    ("name", "content", "count"),
    [("a.jsonl", "{}\n\n{}\n", 2), ("a.csv", "a\n1\n2\n", 2), ("a.csv", 'a\n"1\n2"\n', None), ("a.json", "[]", None)],
)
def test_rows_are_counted_where_that_costs_nothing(tmp_path: Path, name: str, content: str, count: int | None) -> None:
    assert data.count(write(tmp_path, name, content)) == count


# Numbers and several sources


def test_line_number_is_the_number_of_the_line() -> None:
    rows: list[Any] = [{"line_number": 5, "a": 1}, {"line_number": 2, "a": 2}]
    assert [number for number, _ in data.numbered(rows)] == [5, 2]
    assert [number for number, _ in data.numbered([{"a": 1}, {"a": 2}])] == [0, 1]


def test_a_number_that_is_taken_or_none_fails_that_row_alone() -> None:
    rows: list[Any] = [{"line_number": 1}, {"line_number": 1}, {"line_number": "x"}, {"line_number": 0}]
    found = list(data.numbered(rows))
    assert [number for number, row in found if not isinstance(row, BadRow)] == [1, 0]
    assert len([row for _, row in found if isinstance(row, BadRow)]) == 2


def test_sources_meet_by_their_numbers_and_what_one_lacks_is_left_out() -> None:
    left: list[Any] = [{"line_number": number, "l": number} for number in (0, 1, 2)]
    right: list[Any] = [{"line_number": number, "r": number} for number in (2, 0)]
    found = {number: (rows["a"], rows["b"]) for number, rows in data.join({"a": left, "b": right})}
    assert sorted(found) == [0, 2]
    assert found[2] == (left[2], right[0])


def test_sources_without_numbers_meet_by_position_and_are_equally_long(tmp_path: Path) -> None:
    one, two = write(tmp_path, "a.jsonl", '{"a": 1}\n{"a": 2}\n'), write(tmp_path, "b.csv", "b\n3\n4\n")
    assert [(rows["x"], rows["y"]) for _, rows in data.join({"x": one, "y": two})] == [
        ({"a": 1}, {"b": "3"}), ({"a": 2}, {"b": "4"}),
    ]  # fmt: skip
    short = write(tmp_path, "c.csv", "b\n3\n")
    with pytest.raises(Invalid, match="joined by position"):
        list(data.join({"x": one, "y": short}))


# Mapping


def flow(**inputs: Input) -> Flow:
    return Flow(name="f", folder=Path(), file=Path("flow.dag.yaml"), inputs=inputs)


def mapped(declared: Flow, columns: dict[str, Any], row: dict[str, Any]) -> dict[str, Any]:
    return mapping.compile_mapping(declared, columns)({"data": row})


def test_a_mapping_goes_before_a_default_and_a_default_before_a_column_of_the_name() -> None:
    declared = flow(x=Input(name="x", type="int", default=7), y=Input(name="y", type="string"))
    row = {"x": "1", "y": "same", "other": "2"}
    assert mapped(declared, {}, row) == {"x": 7, "y": "same"}
    assert mapped(declared, {"x": "${data.other}"}, row) == {"x": 2, "y": "same"}
    assert mapped(declared, {"x": "${data.other}", "y": "literal"}, row) == {"x": 2, "y": "literal"}
    assert mapped(declared, {"x": "${data.other}", "y": 5}, row) == {"x": 2, "y": "5"}


def test_a_column_with_a_dot_and_one_inside_another_are_found() -> None:
    declared = flow(x=Input(name="x", type="string"))
    assert mapped(declared, {"x": "${data.a.b}"}, {"a.b": "dotted"}) == {"x": "dotted"}
    assert mapped(declared, {"x": "${data.a.b}"}, {"a": {"b": "inside"}}) == {"x": "inside"}


def test_a_missing_column_fails_the_row_and_null_is_not_missing() -> None:
    declared = flow(x=Input(name="x", type="int"))
    with pytest.raises(ValueError, match="no column 'n'"):
        mapped(declared, {"x": "${data.n}"}, {"m": 1})
    with pytest.raises(ValueError, match="is no int"):
        mapped(declared, {"x": "${data.n}"}, {"n": None})
    assert mapped(flow(x=Input(name="x", type="string")), {"x": "${data.n}"}, {"n": None}) == {"x": "None"}


def test_what_no_line_could_use_is_refused_before_anything_runs(tmp_path: Path) -> None:
    declared = flow(x=Input(name="x", type="int"))
    rows = write(tmp_path, "a.jsonl", '{"question": 1}\n')
    with pytest.raises(Invalid, match="names no column"):
        mapping.check(declared, {"x": "literal"})
    with pytest.raises(Invalid, match="no input 'y'"):
        mapping.check(declared, {"y": "${data.question}"})
    with pytest.raises(Invalid, match="questoin") as caught:
        mapping.check_columns(declared, {"x": "${data.questoin}"}, {"data": rows})
    assert "question" in (caught.value.hint or "")


def test_one_lines_lists_are_its_own() -> None:
    declared = flow(x=Input(name="x", type="list", default=[1]), y=Input(name="y", type="string"))
    inputs_of = mapping.compile_mapping(declared, {})
    first, second = inputs_of({"data": {"y": "a"}}), inputs_of({"data": {"y": "b"}})
    first["x"].append(2)
    assert second["x"] == [1]


# Over runs


def test_a_run_goes_over_the_data_and_the_outputs_of_another(
    workspace: Workspace, doubling: Path, tmp_path: Path
) -> None:
    rows = write(tmp_path, "rows.jsonl", "".join(json.dumps({"n": number}) + "\n" for number in range(8)))
    first = flows.Batch(data=rows, column_mapping={"x": "${data.n}"}, name="first")
    *_, done = flows.run(workspace, flows.load(doubling), first)
    assert isinstance(done, flows.Finished)
    assert done.failed == 1
    columns = {"x": "${run.outputs.y}", "pause": "${run.inputs.n}"}
    _quick(doubling)
    second = flows.Batch(base=workspace.runs.get("first"), column_mapping=columns, name="second")
    *_, done = flows.run(workspace, flows.load(doubling), second)
    lines = list(flows.lines(workspace.runs.get("second")))
    assert [line.number for line in lines] == [0, 1, 2, 3, 4, 6, 7]  # what failed before is missing
    assert [line.inputs for line in lines][-1] == {"x": 14, "pause": 7.0}


def _quick(folder: Path) -> None:
    code = folder / "double.py"
    code.write_text(code.read_text().replace("time.sleep(pause)", "pass"))

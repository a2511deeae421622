"""The files of a data asset: found by name and by no other way, and told by how they begin."""

from __future__ import annotations

from pathlib import Path

import pytest

from studiolo.asset_files import ROWS, asset_file, asset_files, beginning
from studiolo.run_files import Artifact
from workspace import Workspace
from workspace.errors import StudioloError


def test_the_files_of_a_folder_and_of_a_single_file_are_listed_and_found(workspace: Workspace, tmp_path: Path) -> None:
    folder = tmp_path / "rows"
    (folder / "more").mkdir(parents=True)
    (folder / "more" / "b.csv").write_text("1,2\n")
    (folder / "a.csv").write_text("1\n")
    workspace.assets.put("data", "rows", folder)
    workspace.assets.put("data", "one", folder / "a.csv")
    assert asset_files(workspace, "data:rows:1") == [Artifact("a.csv", 2), Artifact("more/b.csv", 4)]
    assert asset_files(workspace, "one") == [Artifact("a.csv", 2)]
    assert asset_file(workspace, "rows", "more/b.csv").read_text() == "1,2\n"
    assert asset_file(workspace, "one", "a.csv").read_text() == "1\n"


@pytest.mark.parametrize("name", ["../token", "/etc/passwd", "..%2ftoken", "b.csv", "", "more"])
def test_a_name_leads_to_no_other_file(workspace: Workspace, tmp_path: Path, name: str) -> None:
    workspace.tokens.local()
    (tmp_path / "rows" / "more").mkdir(parents=True)
    (tmp_path / "rows" / "a.csv").write_text("1\n")
    workspace.assets.put("data", "rows", tmp_path / "rows")
    workspace.assets.put("data", "one", tmp_path / "rows" / "a.csv")
    for asset in ("rows", "one"):
        with pytest.raises(StudioloError):
            asset_file(workspace, asset, name)


@pytest.mark.parametrize(
    ("name", "text", "rows"),
    [
        ("a.csv", 'x,1\n"y, z",2\n', [{"1": "x", "2": "1"}, {"1": "y, z", "2": "2"}]),
        ("a.tsv", "x\t1\n", [{"1": "x", "2": "1"}]),
        ("a.jsonl", '{"a": 1}\n{"a": null}\n', [{"a": 1}, {"a": None}]),
    ],
)
def test_a_table_begins_with_its_rows(tmp_path: Path, name: str, text: str, rows: list[dict[str, object]]) -> None:
    (tmp_path / name).write_text(text)
    found = beginning(tmp_path / name)
    assert (found.rows, found.text, found.whole) == (rows, "", True)


@pytest.mark.parametrize(
    ("name", "text"),
    [("a.csv", "a line\nand, another\n"), ("a.csv", "one column\n"), ("a.jsonl", "{broken\n"), ("a.txt", "x\n")],
)
def test_what_is_no_table_begins_with_its_text(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    found = beginning(tmp_path / name)
    assert (found.rows, found.text, found.whole) == ([], text.rstrip("\n"), True)


def test_parquet_begins_with_its_rows(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    pandas.DataFrame({"a": range(ROWS + 1)}).to_parquet(tmp_path / "a.parquet")
    found = beginning(tmp_path / "a.parquet")
    assert (found.rows[:2], len(found.rows), found.whole) == ([{"a": 0}, {"a": 1}], ROWS, False)


def test_a_long_file_is_told_by_its_first_lines(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("name,1\n" * 500_000)
    found = beginning(tmp_path / "a.csv")
    assert (len(found.rows), found.whole) == (ROWS, False)
    (tmp_path / "a.log").write_text("a word or two\n" * 500_000)
    found = beginning(tmp_path / "a.log")
    assert (len(found.text.splitlines()), found.whole) == (ROWS, False)


def test_bytes_are_neither_rows_nor_text(tmp_path: Path) -> None:
    for name in ("a.bin", "a.parquet"):
        (tmp_path / name).write_bytes(b"\x00\x01\x02")
        found = beginning(tmp_path / name)
        assert (found.rows, found.text, found.whole) == ([], "", False)
    (tmp_path / "empty.csv").write_text("")
    assert beginning(tmp_path / "empty.csv").whole

"""MLTable: how files are read as tables, what a table names elsewhere, and how jobs get it."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pandas
import pytest

from jobs.data import tables
from jobs.shims import mltable
from jobs.submit import stream, wait
from tests.jobs.conftest import LONG, Submit
from workspace.errors import Invalid
from workspace.home import Workspace


def table(folder: Path, text: str, **files: str | bytes) -> Path:
    """Make a folder with an MLTable file; `a__csv` is the file a.csv, `x__y__csv` is x/y.csv."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "MLTable").write_text(text)
    for name, content in files.items():
        *parts, suffix = name.split("__")
        path = folder.joinpath(*parts).with_suffix(f".{suffix}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def rows(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(tables.read(folder).to_json(orient="records", date_format="iso"))
    return found


CSV = "type: mltable\npaths: [{file: ./a.csv}]\ntransformations:\n- read_delimited: {delimiter: ','}\n"
PEOPLE = "name,age,town\nAnn,31,Rome\nBob,25,Oslo\nCid,47,Rome\n"


@pytest.mark.parametrize(
    ("step", "found"),
    [
        ("take: 2", ["Ann", "Bob"]),
        ("skip: 1", ["Bob", "Cid"]),
        ("filter: col('age') > 30 and col('town') == 'Rome'", ["Ann", "Cid"]),
        ("filter: not (col('age') < 30 or col('name') == 'Cid')", ["Ann"]),
        ("filter: 20 < col('age') <= 31", ["Ann", "Bob"]),
        ("filter: col('age') + 10 > 50", ["Cid"]),
    ],
)
def test_rows_are_chosen(tmp_path: Path, step: str, found: list[str]) -> None:
    folder = table(tmp_path / "t", f"{CSV}- {json.dumps(step.split(': ', 1)[0])}: {json.dumps(_said(step))}\n",
                   a__csv=PEOPLE)  # fmt: skip
    assert [row["name"] for row in rows(folder)] == found


def _said(step: str) -> Any:
    value = step.split(": ", 1)[1]
    return int(value) if value.isdecimal() else value


def test_columns_are_kept_and_dropped(tmp_path: Path) -> None:
    kept = table(tmp_path / "k", CSV + "- keep_columns: [name, age]\n- drop_columns: age\n", a__csv=PEOPLE)
    assert rows(kept) == [{"name": name} for name in ("Ann", "Bob", "Cid")]
    with pytest.raises(Invalid, match="no column 'agee'"):
        rows(table(tmp_path / "n", CSV + "- keep_columns: [agee]\n", a__csv=PEOPLE))


def test_column_types_are_converted(tmp_path: Path) -> None:
    text = CSV + (
        "- convert_column_types:\n"
        "  - {columns: [n], column_type: string}\n"
        "  - {columns: f, column_type: float}\n"
        "  - columns: b\n    column_type: {boolean: {true_values: [ja], false_values: [nein], mismatch_as: 'error'}}\n"
        "  - columns: [d]\n    column_type: {datetime: {formats: ['%d.%m.%Y', '%Y']}}\n"
    )
    folder = table(tmp_path / "t", text, a__csv="n,f,b,d\n1,2,ja,24.12.2025\n3,x,nein,2026\n")
    frame = tables.read(folder)
    assert frame["n"].tolist() == ["1", "3"]
    assert frame["f"].tolist()[0] == 2.0
    assert pandas.isna(frame["f"][1])
    assert frame["b"].tolist() == [True, False]
    assert [str(each.date()) for each in frame["d"]] == ["2025-12-24", "2026-01-01"]
    with pytest.raises(Invalid, match="neither true nor false"):
        rows(table(tmp_path / "u", text, a__csv="n,f,b,d\n1,2,nope,2025\n"))


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("all_files_same_headers", [{"a": "1"}, {"a": "2"}]),
        ("from_first_file", [{"a": "1"}, {"a": "a"}, {"a": "2"}]),
        ("no_header", [{"Column1": each} for each in ("a", "1", "a", "2")]),
    ],
)
def test_headers_are_in_all_files_in_the_first_or_in_none(tmp_path: Path, header: str, found: list[Any]) -> None:
    text = (
        "paths: [{pattern: ./*.csv}]\ntransformations:\n"
        f"- read_delimited: {{header: {header}, infer_column_types: false}}\n"
    )
    assert rows(table(tmp_path / "t", text, a__csv="a\n1\n", b__csv="a\n2\n")) == found


def test_empty_cells_are_text_where_the_table_says_so(tmp_path: Path) -> None:
    for said, found in (("false", None), ("true", "")):
        text = f"paths: [{{file: a.csv}}]\ntransformations:\n- read_delimited: {{empty_as_string: {said}}}\n"
        assert rows(table(tmp_path / said, text, a__csv='a,b\n1,x\n2,""\n'))[1]["b"] == found


def test_text_may_be_written_otherwise_and_separated_by_tabs(tmp_path: Path) -> None:
    text = "paths: [{file: a.tsv}]\ntransformations:\n- read_delimited: {delimiter: '\\t', encoding: latin1}\n"
    assert rows(table(tmp_path / "t", text, a__tsv="a\tb\nä\t1\n".encode("latin-1"))) == [{"a": "ä", "b": 1}]


def test_json_lines_may_have_lines_that_are_dropped(tmp_path: Path) -> None:
    text = "paths: [{folder: ./rows}]\ntransformations:\n- read_json_lines: {invalid_lines: %s}\n"
    lines = {"rows__a__jsonl": '{"a": 1}\nno\n{"a": 2}\n'}
    assert rows(table(tmp_path / "d", text % "drop", **lines)) == [{"a": 1}, {"a": 2}]
    with pytest.raises(Invalid, match=r"a\.jsonl:2: no JSON"):
        rows(table(tmp_path / "e", text % "error", **lines))


def test_parquet_tells_paths_and_partitions(tmp_path: Path) -> None:
    text = (
        "paths: [{pattern: ./**/*.parquet}]\ntransformations:\n- read_parquet: {include_path_column: true}\n"
        "- extract_columns_from_partition_format: '/{when:yyyy/MM}/{town}/part.parquet'\n"
        "- filter: col('town') == 'oslo'\n"
    )
    folder = table(tmp_path / "t", text)
    for town, number in (("rome", 1), ("oslo", 2)):
        place = folder / "2025" / "07" / town
        place.mkdir(parents=True)
        pandas.DataFrame({"n": [number]}).to_parquet(place / "part.parquet")
    (row,) = rows(folder)
    assert (row["n"], row["town"], row["when"][:7]) == (2, "oslo", "2025-07")
    assert row["Path"].endswith("2025/07/oslo/part.parquet")


def test_a_sample_is_the_same_for_the_same_seed(tmp_path: Path) -> None:
    numbers = "n\n" + "".join(f"{number}\n" for number in range(1000))
    text = CSV + "- take_random_sample: {probability: 0.1, seed: 7}\n"
    folder = table(tmp_path / "t", text, a__csv=numbers)
    first = rows(folder)
    assert first == rows(folder)
    assert 60 < len(first) < 140
    left, right = mltable.load(str(table(tmp_path / "s", CSV, a__csv=numbers))).random_split(0.3, seed=1)
    ours, theirs = (set(each.to_pandas_dataframe()["n"]) for each in (left, right))
    assert not ours & theirs
    assert len(ours | theirs) == 1000


def test_what_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    delta = "paths: [{folder: .}]\ntransformations: [read_delta_lake]\n"
    with pytest.raises(Invalid, match="Delta Lake cannot be read here"):
        rows(table(tmp_path / "d", delta, a__csv="a\n"))
    with pytest.raises(Invalid, match="'explode' is not known here"):
        rows(table(tmp_path / "e", CSV + "- explode: 1\n", a__csv=PEOPLE))
    evil = CSV + "- filter: __import__('os').system('touch /tmp/evil')\n"
    with pytest.raises(Invalid, match="not known here"):
        rows(table(tmp_path / "f", evil, a__csv=PEOPLE))


def test_tables_are_made_and_saved_by_code(tmp_path: Path) -> None:
    place = tmp_path / "a.csv"
    place.write_text(PEOPLE)
    made = mltable.from_delimited_files(paths=[{"file": str(place)}], encoding=mltable.MLTableFileEncoding.utf8)
    made = made.filter("col('age') > 30").convert_column_types({"age": mltable.DataType.to_string()})
    made.save(str(tmp_path / "saved"), colocated=True)
    place.unlink()
    found = mltable.load(str(tmp_path / "saved")).to_pandas_dataframe()
    assert found["age"].tolist() == ["31", "47"]


def test_modules_for_scripts_are_written_for_old_pythons() -> None:
    folder = Path(mltable.__file__).parents[1]
    files = sorted(folder.rglob("*.py"))
    assert files
    for path in files:
        ast.parse(path.read_text(), feature_version=(3, 7))
        text = path.read_text()
        assert "removeprefix" not in text
        assert text.count("from __future__ import annotations") or path.name == "__init__.py"


INPUT = "inputs:\n  t:\n    type: mltable\n    path: %s\n    mode: %s\n"


def said(workspace: Workspace, run: Submit, command: str, rest: str) -> str:
    job = run(command, rest)
    wait(workspace, job.name, seconds=LONG)
    return b"".join(stream(workspace, job.name)).decode()


def test_a_job_reads_a_table_with_files_from_elsewhere(workspace: Workspace, run: Submit, tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "b.csv").write_text("name,age,town\nDee,60,Bonn\n")
    (tmp_path / "data_map.yml").write_text("https://example.test/: ./far/\n")
    text = (
        "type: mltable\npaths:\n- file: ./a.csv\n- pattern: https://example.test/*.csv\n"
        "transformations:\n- read_delimited: {delimiter: ','}\n- filter: col('age') > 40\n"
    )
    table(tmp_path / "t", text, a__csv=PEOPLE)
    (tmp_path / "go.py").write_text(
        "import sys, mltable\nprint(' '.join(mltable.load(sys.argv[1]).to_pandas_dataframe()['name']))\n"
    )
    rest = INPUT % ("t", "ro_mount") + "code: go.py\n"
    assert said(workspace, run, "python go.py ${{inputs.t}}", rest) == "Cid Dee\n"
    files = said(workspace, run, "cd ${{inputs.t}}; find . -type f | sort", INPUT % ("t", "eval_mount"))
    assert files == "./a.csv\n./from-elsewhere-2/b.csv\n"


def test_a_folder_without_a_table_is_given_as_it_is(workspace: Workspace, run: Submit, tmp_path: Path) -> None:
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "a.csv").write_text("a\n")
    assert said(workspace, run, "ls ${{inputs.t}}", INPUT % ("rows", "ro_mount")) == "a.csv\n"


def test_a_table_that_was_registered_is_read_by_its_name(workspace: Workspace, run: Submit, tmp_path: Path) -> None:
    from jobs import assets

    table(tmp_path / "t", CSV, a__csv=PEOPLE)
    assets.create(workspace, "data", {"name": "people", "type": "mltable", "path": "t"}, folder=tmp_path)
    rest = INPUT % ("azureml:people@latest", "eval_download")
    assert said(workspace, run, "cat ${{inputs.t}}/a.csv | head -1; touch ${{inputs.t}}/x", rest) == "name,age,town\n"

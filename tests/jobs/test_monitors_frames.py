"""Data of monitors: what was collected, files and tables, of a window of time."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from jobs.files.monitor import DriftThresholds, QualityThresholds
from jobs.monitors import drift, frames, quality
from jobs.monitors.features import Feature, common
from jobs.monitors.frames import Frame
from jobs.monitors.windows import DAY, Span
from tests.jobs.monitoring import NOON, collect
from workspace.errors import Invalid

TODAY = Span(NOON - DAY, NOON)


def read(place: Path, span: Span | None = None, timestamp: str | None = None) -> tuple[Frame, list[tuple[object, ...]]]:
    with frames.open_database() as database:
        frame = frames.load(database, "t", place, span=span, timestamp=timestamp, source="it")
        columns = ", ".join(map(frames.quoted, frame.columns)) or "1"
        return frame, database.execute(f"SELECT {columns} FROM t").fetchall()


def test_what_was_collected_is_read_of_its_window_with_an_id_for_each_row(tmp_path: Path) -> None:
    collect(tmp_path, "model_inputs", 8, [{"age": 1}])
    collect(tmp_path, "model_inputs", 10, [{"age": 30, "city": "a"}, {"age": 31.5, "city": None}])
    frame, rows = read(tmp_path, TODAY)
    assert frame.columns == {"correlationid": "VARCHAR", "age": "DOUBLE", "city": "VARCHAR"}
    assert rows == [("d10-0_0", 30.0, "a"), ("d10-1_0", 31.5, None)]
    assert read(tmp_path)[0].rows == 3


def test_answers_without_names_are_predictions_and_words_among_numbers_make_words(tmp_path: Path) -> None:
    collect(tmp_path, "model_outputs", 10, [1, 0])
    assert read(tmp_path, TODAY)[1] == [("d10-0_0", 1), ("d10-1_0", 0)]
    collect(tmp_path, "model_outputs", 10, [{"it's": 1}, {"it's": "n/a"}])
    frame, rows = read(tmp_path, TODAY)
    assert (frame.columns["it's"], [row[1] for row in rows]) == ("VARCHAR", ["1", "n/a"])


@pytest.mark.parametrize(
    ("row", "columns", "values"),
    [
        ({"a": "x", "A": 1, "": 2}, {"a": "VARCHAR"}, ["x"]),
        ({'say "it\'s"/~': 1.5}, {'say "it\'s"/~': "DOUBLE"}, [1.5]),
        ({"a": None}, {"a": "VARCHAR"}, [None]),
        ({"a": {"b": 1}, "c": [1]}, {"a": "JSON", "c": "JSON"}, ['{"b":1}', "[1]"]),
        ({"correlationid": "mine"}, {"correlationid": "VARCHAR"}, ["mine"]),
        ({}, {"nothing": "INTEGER"}, None),
    ],
)
def test_whatever_was_collected_becomes_columns(
    tmp_path: Path, row: dict[str, object], columns: dict[str, str], values: list[object] | None
) -> None:
    collect(tmp_path, "model_inputs", 10, [row])
    frame, rows = read(tmp_path, TODAY)
    found = {name: kind for name, kind in frame.columns.items() if name != "correlationid" or name in row}
    assert found == columns
    assert [list(each)[-len(columns) :] for each in rows] == ([] if values is None else [values])


def test_a_payload_that_lies_aside_is_read_there(tmp_path: Path) -> None:
    path = collect(tmp_path, "model_inputs", 10, [{"age": 1}])
    event = json.loads(path.read_text())
    del event["data"]
    path.with_name("large.bin").write_text('[{"age": 7}, {"age": 8}]')
    path.write_text(json.dumps(event | {"dataref": "large.bin"}) + "\n")
    assert read(tmp_path, TODAY)[1] == [("d10-0_0", 7), ("d10-0_1", 8)]


def test_nothing_collected_is_no_rows(tmp_path: Path) -> None:
    assert read(tmp_path, TODAY)[0].rows == 0
    collect(tmp_path, "model_inputs", 8, [{"age": 1}])
    assert read(tmp_path, TODAY)[0].rows == 0


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.csv", "at,age\n2026-05-10T10:00:00,7\n2026-05-01T10:00:00,8\n"),
     ("a.jsonl", '{"at": "2026-05-10T10:00:00Z", "age": 7}\n{"at": "2026-05-01T10:00:00Z", "age": 8}\n')],
)  # fmt: skip
def test_files_have_times_where_a_column_says_so(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    frame, rows = read(tmp_path, TODAY, "at")
    assert [row[1] for row in rows] == [7]
    assert frame.span == TODAY
    frame, rows = read(tmp_path / name, TODAY)
    assert (len(rows), frame.span, "data_column_names.timestamp" in frame.note) == (2, None, True)


def test_a_column_that_is_of_no_time_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("at,age\nyesterday,7\n")
    with pytest.raises(Invalid, match="column 'at' of it is of no time"):
        read(tmp_path, TODAY, "at")


def test_tables_are_read_as_their_mltable_says(tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    (tmp_path / "rows.csv").write_text("age;city\n7;a\n8;b\n9;c\n")
    (tmp_path / "MLTable").write_text(
        "type: mltable\npaths: [{file: ./rows.csv}]\ntransformations:\n"
        "  - read_delimited: {delimiter: ';'}\n  - take: 2\n"
    )
    assert read(tmp_path)[1] == [(7, "a"), (8, "b")]


def test_files_of_several_kinds_are_refused_and_so_is_what_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a\n1\n")
    (tmp_path / "b.json").write_text('{"a": 1}')
    with pytest.raises(Invalid, match="cannot be read as one table"):
        read(tmp_path)
    (tmp_path / "b.json").unlink()
    (tmp_path / "a.csv").unlink()
    (tmp_path / "a.parquet").write_text("no parquet")
    with pytest.raises(Invalid, match="it cannot be read"):
        read(tmp_path)


def test_rates_are_measured_by_what_the_reference_has(tmp_path: Path) -> None:
    before, after = tmp_path / "before.csv", tmp_path / "after.csv"
    before.write_text("age,city,ok\n20,a,true\n60,b,false\n")
    after.write_text("age,city,ok\n30,a,true\n,a,true\n99,c,true\nx,b,7\n")
    with frames.open_database() as database:
        old, new = (frames.load(database, path.stem, path, span=None) for path in (before, after))
        found = quality.quality(database, old, new, common(old, new, overrides={}), None)
    rates = {(each.feature, each.metric): each.value for each in found.measures}
    assert (rates["age", "null_value_rate"], rates["age", "data_type_error_rate"]) == (0.25, 0.25)
    assert (rates["age", "out_of_bounds_rate"], rates["city", "out_of_bounds_rate"]) == (0.25, 0.25)
    assert (rates["ok", "data_type_error_rate"], rates["city", "data_type_error_rate"]) == (0.25, 0.0)
    assert sum(each.is_breached for each in found.measures) == 6


def test_what_is_not_a_number_is_missing_and_no_bound(tmp_path: Path) -> None:
    (tmp_path / "before.csv").write_text("age\n20.5\nnan\n60\n")
    (tmp_path / "after.csv").write_text("age\n30.5\nnan\n99\n40\n")
    with frames.open_database() as database:
        old, new = (frames.load(database, each, tmp_path / f"{each}.csv", span=None) for each in ("before", "after"))
        assert old.columns == {"age": "DOUBLE"}
        found = quality.quality(database, old, new, [Feature("age", "numerical")], None)
    assert {each.metric: each.value for each in found.measures} == {
        "null_value_rate": 0.25, "data_type_error_rate": 0.0, "out_of_bounds_rate": 0.25,
    }  # fmt: skip


def test_numbers_are_numerical_unless_the_file_says_otherwise(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("age,city,at\n1,a,2026-05-01\n")
    with frames.open_database() as database:
        frame = frames.load(database, "t", tmp_path, span=None)
    assert common(frame, frame, overrides={}) == [Feature("age", "numerical"), Feature("city", "categorical")]
    assert common(frame, frame, overrides={"age": "Categorical"}, apart=("city",)) == [Feature("age", "categorical")]
    with pytest.raises(Invalid, match="'agee'"):
        common(frame, frame, overrides={"agee": "categorical"})


def test_one_threshold_is_for_the_usual_metrics_of_the_kind_that_it_says(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("age,city\n1,a\n2,b\n")
    with frames.open_database() as database:
        frame = frames.load(database, "t", tmp_path, span=None)
        features = common(frame, frame, overrides={})
        moved = drift.drift(database, frame, frame, features, DriftThresholds(threshold=0.4, data_type="numerical"))
        rates = quality.quality(database, frame, frame, features, QualityThresholds(threshold=0.4))
    assert [(each.metric, each.threshold) for each in moved.measures] == [("normalized_wasserstein_distance", 0.4)]
    assert {each.threshold for each in rates.measures} == {0.4}
    assert len(rates.measures) == 6


def test_a_hundred_thousand_rows_take_seconds(tmp_path: Path) -> None:
    folder = tmp_path / "model_inputs" / "2026/05/10/10"
    folder.mkdir(parents=True)
    with frames.open_database() as database:
        made = (
            "SELECT '1.0' AS specversion, '2026-05-10T10:00:00Z' AS \"time\", 'c' || i AS correlationid, "
            "[{age: i % 70, income: random(), city: chr((65 + i % 5)::INT)}] AS data FROM range(100000) r(i)"
        )
        database.execute(f"COPY ({made}) TO '{folder / 'a.jsonl'}' (FORMAT json)")
        began = time.process_time()
        new = frames.load(database, "n", tmp_path, span=TODAY)
        features = common(new, new, overrides={}, apart=("correlationid",))
        found = drift.drift(database, new, new, features, None)
        quality.quality(database, new, new, features, None)
        took = time.process_time() - began
    assert (new.rows, len(found.measures)) == (100_000, 3)
    assert took < 10  # of the processor: it takes two

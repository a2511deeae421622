"""A run as the files that prompt flow leaves."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flows.export import error, export, metrics
from workspace.runs import RunRecord


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_outputs_are_the_completed_lines_in_order_with_their_numbers_first(
    answered: Callable[..., RunRecord], tmp_path: Path
) -> None:
    folder = export(answered("mine", broken={2}), tmp_path / "out")
    outputs = rows(folder / "outputs.jsonl")
    assert [row["line_number"] for row in outputs] == [0, 1, 3, 4, 5, 6, 7, 8, 9]
    assert list(outputs[0]) == ["line_number", "answer"]
    assert rows(folder / "flow_outputs" / "output.jsonl") == outputs
    assert len(rows(folder / "inputs.jsonl")) == 10
    assert json.loads((folder / "meta.json").read_text()) == {"batch_size": 1}
    assert json.loads((folder / "metrics.json").read_text()) == {}


def test_errors_say_which_lines_failed_and_where(answered: Callable[..., RunRecord], tmp_path: Path) -> None:
    record = answered("mine", broken={2, 5})
    folder = export(record, tmp_path / "out")
    written = json.loads((folder / "error.json").read_text())
    assert written["message"].startswith("Failed to run 2/10 lines. First error message is: Execution failure in 'say'")
    listed = written["additionalInfo"][0]["info"]["errors"]
    assert [each["line_number"] for each in listed] == [2, 5]
    assert listed[0]["error"]["messageParameters"] == {"node_name": "say"}
    assert listed[0]["error"]["additionalInfo"][0]["info"]["type"]
    assert error(record) == written


def test_a_run_without_errors_has_no_error_file(answered: Callable[..., RunRecord], tmp_path: Path) -> None:
    record = answered("mine")
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "error.json").write_text("{}")
    export(record, folder)
    assert not (folder / "error.json").exists()
    assert error(record) is None


def test_there_are_few_files_unless_one_per_node_is_asked_for(
    answered: Callable[..., RunRecord], tmp_path: Path
) -> None:
    record = answered("mine")
    export(record, record.directory)
    assert len([file for file in record.directory.rglob("*") if file.is_file()]) <= 10
    folder = export(record, tmp_path / "out", node_artifacts=True)
    files = sorted((folder / "node_artifacts" / "say").iterdir())
    assert [file.name for file in files][:2] == ["000000000.jsonl", "000000001.jsonl"]
    artifact = json.loads(files[3].read_text())
    assert (artifact["NodeName"], artifact["line_number"], artifact["status"]) == ("say", 3, "Completed")
    assert artifact["run_info"]["run_id"] == "mine_say_3"


def test_writing_a_run_again_changes_nothing(answered: Callable[..., RunRecord]) -> None:
    record = answered("mine", broken={1})
    export(record, record.directory)
    before = {file: file.read_bytes() for file in record.directory.rglob("*") if file.is_file()}
    export(record, record.directory)
    assert before == {file: file.read_bytes() for file in record.directory.rglob("*") if file.is_file()}


def test_our_own_counts_are_not_the_flows_metrics(answered: Callable[..., RunRecord]) -> None:
    assert metrics(answered("mine")) == {}

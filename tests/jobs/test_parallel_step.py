"""Parallel jobs from what a pipeline says of them to the joined rows, with real processes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from jobs.create import create
from jobs.files.parallel_job import parallel_job_of
from jobs.folders import outputs_of
from jobs.records import JobRecord
from jobs.submit import Wishes, cancel, stream, wait
from tests.jobs.conftest import LONG
from tests.jobs.sweeping import plain_python as plain_python
from tests.jobs.sweeping import plain_wheels
from workspace.errors import Invalid
from workspace.home import Workspace

UPPER = """
import os
def run(mini_batch):
    return [open(path).read().upper() for path in mini_batch]
"""


def files(folder: Path, *contents: str) -> Path:
    rows = folder / "rows"
    rows.mkdir()
    for number, content in enumerate(contents):
        (rows / f"{number:04d}.txt").write_text(content)
    return rows


def begun(workspace: Workspace, folder: Path, script: str, data: Path, **given: Any) -> JobRecord:
    """Begin a parallel job over data: `begun(workspace, tmp_path, UPPER, rows, mini_batch_size="2")`."""
    (folder / "src").mkdir(exist_ok=True)
    (folder / "src" / "score.py").write_text(script)
    kind = given.pop("kind", {"type": "uri_folder"})
    arguments, wishes = given.pop("program_arguments", None), given.pop("wishes", None)
    environment = given.pop("environment", {"conda_file": {"dependencies": [{"pip": [*plain_wheels(), "tinything"]}]}})
    task = {
        "type": "run_function", "code": str(folder / "src"), "entry_script": "score.py", "environment": environment,
        "append_row_to": "${{outputs.scores}}", **({"program_arguments": arguments} if arguments else {}),
    }  # fmt: skip
    plain = {
        "type": "parallel", "name": "score", "task": task, "input_data": "${{inputs.rows}}",
        "inputs": {"rows": {**kind, "path": str(data)}, "factor": 3}, "outputs": {"scores": {"type": "uri_file"}},
        "max_concurrency_per_instance": 2, **given,
    }  # fmt: skip
    plain = {key: value for key, value in plain.items() if value is not None}
    return create(workspace, parallel_job_of(plain, folder), wishes)


def rows(workspace: Workspace, name: str = "score", *, seconds: float = LONG) -> list[str]:
    job = wait(workspace, name, seconds=seconds)
    assert job.status == "Completed", (job.error, said(workspace, name))
    return (outputs_of(workspace.home, name) / "scores").read_text().splitlines()


def failed(workspace: Workspace, name: str = "score") -> str:
    assert wait(workspace, name, seconds=LONG).status == "Failed", said(workspace, name)
    return said(workspace, name)


def said(workspace: Workspace, name: str = "score") -> str:
    return b"".join(stream(workspace, name)).decode()


def test_rows_come_in_the_order_of_the_files_whatever_is_ready_first(workspace: Workspace, tmp_path: Path) -> None:
    begun(workspace, tmp_path, UPPER, files(tmp_path, *"abcdefg"), mini_batch_size="3")
    assert rows(workspace) == list("ABCDEFG")
    assert "7 items in 3 mini-batches, 2 workers" in said(workspace)


def test_what_a_parent_knows_of_repository_and_machine_is_kept(workspace: Workspace, tmp_path: Path) -> None:
    job = begun(workspace, tmp_path, UPPER, files(tmp_path, "a"), wishes=Wishes(made_with={"python": "of the parent"}))
    cancel(workspace, job.name)
    assert job.spec["made_with"] == {"python": "of the parent"}
    wait(workspace, job.name, seconds=LONG)


def test_a_script_has_init_shutdown_arguments_a_context_and_its_own_folder(
    workspace: Workspace, tmp_path: Path
) -> None:
    script = """
import argparse, os
import beside
def init():
    global factor
    parser = argparse.ArgumentParser()
    parser.add_argument("--factor", type=int)
    factor = parser.parse_known_args()[0].factor
def run(mini_batch, context):
    return [(context.minibatch_index, beside.length(path) * factor) for path in mini_batch]
def shutdown():
    print("shut down")
"""
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "beside.py").write_text("def length(path):\n    return len(open(path).read())\n")
    arguments = "--factor ${{inputs.factor}} --allowed_failed_percent 50"
    begun(workspace, tmp_path, script, files(tmp_path, "a", "bb"), program_arguments=arguments)
    assert rows(workspace) == ["0 3", "1 6"]
    assert said(workspace).count("shut down") == 2


def test_a_mini_batch_that_fails_comes_again_and_one_that_always_fails_is_told(
    workspace: Workspace, tmp_path: Path
) -> None:
    script = f"""
import os
def run(mini_batch):
    text = open(mini_batch[0]).read()
    with open({str(tmp_path / "tries")!r}, "a") as file:
        file.write(text)
    if text == "b" or (text == "c" and open({str(tmp_path / "tries")!r}).read().count("c") == 1):
        raise ValueError("no " + text)
    if text == "d" and open({str(tmp_path / "tries")!r}).read().count("d") == 1:
        os._exit(9)
    return [text]
"""
    begun(workspace, tmp_path, script, files(tmp_path, *"abcd"), retry_settings={"max_retries": 1, "timeout": 30})
    assert rows(workspace) == ["a", "c", "d"], said(workspace)
    told = said(workspace)
    assert "mini-batch 1 has failed for good, 1 items: ValueError: no b" in told
    assert "mini-batch 2 is tried again: ValueError: no c" in told
    assert "mini-batch 3 is tried again: its process ended with exit code 9" in told
    assert sorted((tmp_path / "tries").read_text()) == sorted("abbccdd")


def test_a_mini_batch_that_takes_too_long_is_ended_and_its_process_replaced(
    workspace: Workspace, tmp_path: Path
) -> None:
    script = """
import time
def run(mini_batch):
    text = open(mini_batch[0]).read()
    time.sleep(60 if text == "b" else 0)
    return [text]
"""
    begun(workspace, tmp_path, script, files(tmp_path, *"abcd"), retry_settings={"max_retries": 0, "timeout": 1},
          max_concurrency_per_instance=1)  # fmt: skip
    assert rows(workspace, seconds=20) == ["a", "c", "d"]
    assert "mini-batch 1 has failed for good, 1 items: it took more than 1 s" in said(workspace)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"error_threshold": 1}, "2 items have failed, and error_threshold is 1"),
        ({"mini_batch_error_threshold": 0}, "1 mini-batches have failed, and mini_batch_error_threshold is 0"),
        ({"program_arguments": "--allowed_failed_percent 10"}, "1 of 2 mini-batches have failed, and 10 % may"),
    ],
)
def test_more_failures_than_may_be_fail_the_job(
    workspace: Workspace, tmp_path: Path, given: dict[str, Any], told: str
) -> None:
    script = (
        "def run(mini_batch):\n    if 'x' in open(mini_batch[0]).read(): raise KeyError('x')\n    return mini_batch"
    )
    begun(workspace, tmp_path, script, files(tmp_path, "x", "x", "a"), mini_batch_size="2",
          retry_settings={"max_retries": 0}, **given)  # fmt: skip
    assert told in failed(workspace)


def test_an_item_without_a_row_has_failed(workspace: Workspace, tmp_path: Path) -> None:
    script = "def run(mini_batch):\n    return mini_batch[1:]"
    begun(workspace, tmp_path, script, files(tmp_path, *"abc"), mini_batch_size="3", error_threshold=0)
    assert "1 items have failed, and error_threshold is 0" in failed(workspace)


def test_a_script_that_cannot_be_begun_fails_the_job_at_once_with_its_words(
    workspace: Workspace, tmp_path: Path
) -> None:
    begun(
        workspace, tmp_path, "def init():\n    raise OSError('no model')\ndef run(_): return []", files(tmp_path, "a")
    )
    assert "OSError: no model" in failed(workspace)


def test_files_are_cut_by_bytes_and_by_the_values_in_their_paths(workspace: Workspace, tmp_path: Path) -> None:
    script = (
        "def run(mini_batch, context):\n    return [(len(mini_batch), context.partition_key_value)] * len(mini_batch)"
    )
    data = tmp_path / "rows"
    for store in "12":
        (data / f"store={store}").mkdir(parents=True)
        for day in range(int(store)):
            (data / f"store={store}" / f"{day}.txt").write_text("x" * 600)
    begun(workspace, tmp_path, script, data, partition_keys=["store"])
    assert rows(workspace) == ["1 {'store': '1'}", "2 {'store': '2'}", "2 {'store': '2'}"]
    begun(workspace, tmp_path, script, data, name="bytes", mini_batch_size="1kb")
    assert wait(workspace, "bytes", seconds=LONG).status == "Completed"
    assert (outputs_of(workspace.home, "bytes") / "scores").read_text().splitlines() == ["1 None"] * 3


TABLE = """
type: mltable
paths:
  - pattern: ./*.csv
transformations:
  - read_delimited: {delimiter: ';', encoding: utf8}
  - keep_columns: [store, sales]
"""
SUMS = """
def run(mini_batch, context):
    assert list(mini_batch.columns) == ["store", "sales"]
    sums = mini_batch.groupby("store", as_index=False)["sales"].sum()
    sums["rows"] = len(mini_batch)
    return [row for row in sums.values.tolist() for _ in range(1)] + [None] * (len(mini_batch) - len(sums))
"""


def test_a_table_is_cut_by_bytes_and_by_columns(workspace: Workspace, tmp_path: Path) -> None:
    data = tmp_path / "table"
    data.mkdir()
    (data / "MLTable").write_text(TABLE)
    for part in range(2):
        lines = [f"{number % 2};{number};x" for number in range(part * 50, part * 50 + 50)]
        (data / f"{part}.csv").write_text("\n".join(["store;sales;more", *lines]) + "\n")
    kind = {"type": "mltable", "mode": "direct"}
    own = {"environment": ours(tmp_path)}
    begun(workspace, tmp_path, SUMS, data, kind=kind, partition_keys=["store"], **own)
    found = [line for line in rows(workspace) if line != "None"]
    assert found == [f"0 {sum(range(0, 100, 2))} 50", f"1 {sum(range(1, 100, 2))} 50"]
    begun(workspace, tmp_path, SUMS, data, kind=kind, name="bytes", mini_batch_size="1kb", **own)
    assert wait(workspace, "bytes", seconds=LONG).status == "Completed"
    assert b"100 items in 2 mini-batches" in b"".join(stream(workspace, "bytes"))


def ours(folder: Path) -> dict[str, Any]:
    """Return an environment that has pandas without installing it: our own packages, by a path file."""
    from tests.jobs.wheels import path_wheel

    wheels = folder / "path-wheels"
    path_wheel(wheels, [path for path in sys.path if path.endswith("site-packages")])
    version = f"python={sys.version_info[0]}.{sys.version_info[1]}"
    return {"conda_file": {"dependencies": [version, {"pip": ["--no-index", f"--find-links {wheels}", "elsewhere"]}]}}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"input_data": "${{inputs.factor}}"}, "must name one of its data inputs"),
        ({"outputs": {}}, "`append_row_to` must name an output"),
    ],
)
def test_what_names_nothing_is_refused_before_it_runs(
    workspace: Workspace, tmp_path: Path, given: dict[str, Any], told: str
) -> None:
    with pytest.raises(Invalid, match=told):
        begun(workspace, tmp_path, UPPER, files(tmp_path, "a"), **given)

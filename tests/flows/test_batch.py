"""A flow over rows: every line is kept, a failing one is recorded, a killed run goes on where it stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

import flows
from flows.connections import Connection
from flows.results import LOG, read_log
from workspace import Workspace
from workspace.errors import Conflict, Invalid

if TYPE_CHECKING:
    from tests.flows.conftest import ModelServer

MAPPING = {"x": "${data.n}"}


def rows(path: Path, count: int) -> Path:
    path.write_text("".join(json.dumps({"n": number}) + "\n" for number in range(count)))
    return path


def finish(workspace: Workspace, folder: Path, data: Path, **options: object) -> flows.Finished:
    batch = flows.Batch(data=data, **{"column_mapping": MAPPING} | options)  # type: ignore[arg-type]
    events = list(flows.run(workspace, flows.load(folder), batch))
    assert isinstance(events[-1], flows.Finished)
    return events[-1]


def test_a_failing_line_is_recorded_and_the_rest_go_on(workspace: Workspace, doubling: Path, tmp_path: Path) -> None:
    done = finish(workspace, doubling, rows(tmp_path / "rows.jsonl", 10), name="ten")
    assert (done.completed, done.failed, done.metrics) == (9, 1, {"sum": 2.0 * (45 - 5)})
    lines = list(flows.lines(workspace.runs.get("ten")))
    assert [line.number for line in lines] == list(range(10))
    assert "five is not for us" in (lines[5].error or "")
    assert "double.py:" in (lines[5].error or "")
    assert lines[7].outputs == {"y": 14}


def test_a_row_without_the_column_fails_that_line_with_its_reason(
    workspace: Workspace, doubling: Path, tmp_path: Path
) -> None:
    data = tmp_path / "rows.jsonl"
    data.write_text('{"n": 1}\n{"m": 2}\n{"n": "three"}\n{"n": 4}\n')
    done = finish(workspace, doubling, data, name="gaps")
    errors = [line.error for line in flows.lines(workspace.runs.get("gaps"))]
    assert (done.completed, done.failed) == (2, 2)
    assert "no column 'n'" in (errors[1] or "")
    assert "'three' is no int" in (errors[2] or "")


def test_csv_rows_are_texts_that_take_their_type(workspace: Workspace, doubling: Path, tmp_path: Path) -> None:
    data = tmp_path / "rows.csv"
    data.write_text("n,other\n1,a\n2,b\n")
    assert finish(workspace, doubling, data).metrics == {"sum": 6.0}


def test_a_line_that_is_not_json_fails_alone_and_is_named(workspace: Workspace, doubling: Path, tmp_path: Path) -> None:
    data = tmp_path / "rows.jsonl"
    data.write_text('{"n": 1}\n{"n": }\n{"n": 3}\n')
    done = finish(workspace, doubling, data, name="torn")
    assert (done.completed, done.failed) == (2, 1)
    assert "rows.jsonl:2" in str([line.error for line in flows.lines(workspace.runs.get("torn"))][1])


def test_a_mapping_to_an_unknown_input_is_refused(workspace: Workspace, doubling: Path, tmp_path: Path) -> None:
    with pytest.raises(Invalid) as caught:
        finish(workspace, doubling, rows(tmp_path / "rows.jsonl", 1), column_mapping={"xx": "${data.n}"})
    assert caught.value.hint == "did you mean 'x'?"


def test_the_run_names_its_flow_and_its_data(workspace: Workspace, doubling: Path, tmp_path: Path) -> None:
    finish(workspace, doubling, rows(tmp_path / "rows.jsonl", 2), name="traced")
    run = workspace.runs.get("traced")
    assert {edge.source for edge in workspace.lineage.upstream(run.ref)} == {"flow:my-flow:1", "data:rows:1"}


def test_lines_run_at_the_same_time(workspace: Workspace, doubling: Path, tmp_path: Path) -> None:
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps({"n": number, "pause": 0.5}) + "\n" for number in range(16)))
    started = time.monotonic()
    finish(workspace, doubling, data, column_mapping=MAPPING | {"pause": "${data.pause}"})
    assert time.monotonic() - started < 16 * 0.5


def test_large_rows_do_not_block_the_pipes(workspace: Workspace, make_flow: object, tmp_path: Path) -> None:
    folder = make_flow(ECHO, echo="def echo(text: str) -> str:\n    return text")  # type: ignore[operator]
    data = tmp_path / "large.jsonl"
    data.write_text("".join(json.dumps({"text": "x" * 400_000}) + "\n" for _ in range(24)))
    assert finish(workspace, folder, data, column_mapping={}).completed == 24


ECHO = """\
inputs:
  text: {type: string}
outputs:
  text: {type: string, reference: "${echo.output}"}
nodes:
- name: echo
  type: python
  source: {type: code, path: echo.py}
  inputs: {text: "${inputs.text}"}
"""

RUN = """
import sys
from pathlib import Path
import flows
from workspace import Workspace

home, folder, data, resume = sys.argv[1:]
with Workspace.open(home) as workspace:
    batch = flows.Batch(data=Path(data), column_mapping={"x": "${data.n}", "pause": "${data.pause}"}, name="killed",
                        conditions=flows.Conditions(concurrency=4), resume=resume or None)
    for event in flows.run(workspace, flows.load(folder), batch):
        pass
"""


@pytest.mark.parametrize("round_", range(3))
def test_a_killed_run_resumes_without_losing_or_repeating_a_line(
    workspace: Workspace, doubling: Path, tmp_path: Path, round_: int
) -> None:
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps({"n": number + 10, "pause": 0.02}) + "\n" for number in range(120)))
    note = f"    open({str(tmp_path / 'calls')!r}, 'a').write(f'{{x}}\\n')\n    return"
    tool = doubling / "double.py"
    tool.write_text(tool.read_text().replace("    return", note))
    command = [sys.executable, "-c", RUN, str(workspace.home), str(doubling), str(data)]
    child = subprocess.Popen([*command, ""], stderr=subprocess.DEVNULL)
    log = wait_for_lines(workspace, 10 + 25 * round_)
    workers = psutil.Process(child.pid).children(recursive=True)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert alive == []
    with log.open("ab") as file:
        file.write(b'{"number": 3, "sta')  # and the last write was torn
    kept = [line.number for line in read_log(log)]
    assert workspace.runs.get("killed").status == "KILLED"
    assert 0 < len(kept) < 120

    subprocess.run([*command, "killed"], check=True, stderr=subprocess.DEVNULL)
    numbers = [line.number for line in read_log(log)]
    assert numbers[: len(kept)] == kept
    assert sorted(numbers) == list(range(120))
    run = workspace.runs.get("killed")
    assert (run.status, run.metrics["sum"]) == ("FINISHED", sum(2 * (number + 10) for number in range(120)))
    calls = Counter((tmp_path / "calls").read_text().split())
    finished_before = {str(number + 10) for number in kept}
    assert all(calls[number] == 1 for number in finished_before)


def test_a_run_whose_flow_changed_is_not_resumed(workspace: Workspace, doubling: Path, tmp_path: Path) -> None:
    data = rows(tmp_path / "rows.jsonl", 3)
    batch = flows.Batch(data=data, column_mapping=MAPPING, name="changed")
    running = flows.run(workspace, flows.load(doubling), batch)
    next(running)
    running.close()  # type: ignore[attr-defined]
    (doubling / "double.py").write_text("# something else\n" + (doubling / "double.py").read_text())
    with pytest.raises(Conflict, match="flow_digest"):
        finish(workspace, doubling, data, resume="changed")


def wait_for_lines(workspace: Workspace, count: int) -> Path:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for log in workspace.home.glob(f"runs/*/{LOG}"):
            if len(list(read_log(log))) >= count:
                return log
        time.sleep(0.01)
    raise AssertionError("the run did not get that far")


def test_lines_that_a_model_elsewhere_answered_end_well(
    workspace: Workspace, tmp_path: Path, modelling: ModelServer
) -> None:
    folder = tmp_path / "asking"
    folder.mkdir()
    (folder / "ask.jinja2").write_text("user:\n{{n}}\n")
    (folder / "flow.dag.yaml").write_text(
        "inputs: {n: {type: int}}\noutputs: {said: {type: string, reference: '${ask.output}'}}\n"
        "nodes:\n- {name: ask, type: llm, api: chat, connection: theirs, source: {type: code, path: ask.jinja2},\n"
        "   inputs: {model: a-model-of-theirs, n: '${inputs.n}'}}\n"
    )
    theirs = Connection(
        name="theirs", type="open_ai", configs={"base_url": f"{modelling.url}/v1"}, secrets={"api_key": "k"}
    )
    done = finish(
        workspace, folder, rows(tmp_path / "rows.jsonl", 40), name="asked",
        column_mapping={"n": "${data.n}"}, connections={"theirs": theirs},
    )  # fmt: skip
    assert (done.completed, done.failed) == (40, 0)
    record = workspace.runs.get("asked")
    assert record.status == "FINISHED"
    assert record.metrics["tokens.completion"] == 40 * 2
    assert {line.nodes[0].model for line in flows.lines(record)} == {"m-1"}

"""What a run over rows means, statement by statement, where no other test says it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import flows
from studiolo import flow_batches
from workspace import Workspace
from workspace.errors import Conflict, Invalid, Unavailable
from workspace.settings import Settings

Make = Callable[..., Path]
ONE = """\
inputs: {x: {type: int}}
outputs: {y: {type: int, reference: "${say.output}"}}
nodes:
- {name: say, type: python, source: {type: code, path: say.py}, inputs: {x: "${inputs.x}"}}
"""
MAPPING = {"x": "${data.x}"}


def rows(tmp_path: Path, *values: Any) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"x": value}) + "\n" for value in values))
    return path


def over(workspace: Workspace, folder: Path, data: Path | None, **options: Any) -> flows.Finished:
    options.setdefault("column_mapping", MAPPING)
    *_, done = flows.run(workspace, flows.load(folder), flows.Batch(data=data, name="mine", **options))
    assert isinstance(done, flows.Finished)
    return done


def asked(home: Path, folder: Path, data: Path, **variables: str) -> tuple[flows.Finished, Workspace]:
    """Run from the door, with variables set."""
    settings = Settings.from_environment({"STUDIOLO_HOME": str(home), **variables})
    with Workspace.open(settings=settings) as workspace:
        wanted = flow_batches.Asked(flow=str(folder), data=data, mapping=MAPPING, name="mine")
        *_, done = flow_batches.run(workspace, wanted)
        assert isinstance(done, flows.Finished)
        return done, workspace


def test_a_value_that_is_not_of_its_type_fails_its_line_wherever_it_stands(
    make_flow: Make, workspace: Workspace, tmp_path: Path
) -> None:
    folder = make_flow(ONE, say="def say(x): return x")
    done = over(workspace, folder, rows(tmp_path, 1, "two", 3, None, "5"))
    assert (done.completed, done.failed) == (3, 2)
    found = {line.number: line.error or line.outputs for line in flows.lines(workspace.runs.get("mine"))}
    assert (found[0], found[2], found[4]) == ({"y": 1}, {"y": 3}, {"y": 5})
    assert "'two' is no int" in str(found[1])
    assert workspace.runs.get("mine").status == "FINISHED"


@pytest.mark.parametrize(("name", "text"), [("a.jsonl", "\n\n"), ("a.csv", "x\n"), ("a.json", "[]"), ("a.tsv", "")])
def test_data_without_rows_is_refused_and_no_run_begins(
    make_flow: Make, workspace: Workspace, tmp_path: Path, name: str, text: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(Invalid, match="no rows"):
        over(workspace, make_flow(ONE, say="def say(x): return x"), tmp_path / name)
    assert workspace.runs.list() == []


def test_a_run_of_which_no_line_completed_is_nothing_to_run_over(
    make_flow: Make, workspace: Workspace, tmp_path: Path
) -> None:
    folder = make_flow(ONE, say="def say(x): raise ValueError('never')")
    over(workspace, folder, rows(tmp_path, 1, 2))
    batch = flows.Batch(base=workspace.runs.get("mine"), column_mapping={"x": "${run.outputs.y}"})
    with pytest.raises(Invalid, match=r"run\.outputs has no rows"):
        list(flows.run(workspace, flows.load(folder), batch))


def test_what_an_aggregation_node_gives_is_no_output_of_a_line(
    make_flow: Make, workspace: Workspace, tmp_path: Path
) -> None:
    text = ONE.replace("outputs: {", 'outputs: {total: {type: int, reference: "${sum.output}"}, ')
    text += "- {name: sum, type: python, aggregation: true, source: {type: code, path: sum.py},"
    folder = make_flow(f'{text} inputs: {{xs: "${{say.output}}"}}}}\n', say="def say(x): return x", sum=SUM)
    done = over(workspace, folder, rows(tmp_path, 1, 2))
    assert done.metrics == {"sum": 3}
    assert [line.outputs for line in flows.lines(workspace.runs.get("mine"))] == [{"y": 1}, {"y": 2}]
    assert flows.test(flows.load(folder), {"x": 4}, connections={}).outputs == {"y": 4}


SUM = "def sum(xs):\n    log_metric('sum', __builtins__['sum'](xs))\n    return xs"


def test_a_run_does_not_go_on_with_other_columns(make_flow: Make, workspace: Workspace, tmp_path: Path) -> None:
    folder = make_flow(ONE, say="def say(x):\n    if x == 2:\n        raise ValueError('two')\n    return x")
    data = tmp_path / "rows.jsonl"
    data.write_text('{"x": 1, "other": 10}\n{"x": 2, "other": 20}\n')
    assert over(workspace, folder, data).failed == 1
    with pytest.raises(Conflict, match="column mapping changed"):
        over(workspace, folder, data, resume="mine", column_mapping={"x": "${data.other}"})
    batch = flows.Batch(data=data, column_mapping=MAPPING, name="again", resume="mine")
    *_, done = flows.run(workspace, flows.load(folder), batch)
    assert isinstance(done, flows.Finished)
    assert (done.completed, done.failed) == (1, 1)


# Variables of prompt flow


def test_pf_worker_count_bounds_the_lines_at_a_time(make_flow: Make, tmp_path: Path) -> None:
    code = (
        "def say(x, now=[]):\n    import time\n    now.append(x)\n    seen = len(now)\n    time.sleep(0.05)\n"
        "    now.remove(x)\n    return seen"
    )
    folder = make_flow(ONE, say=code)
    _, workspace = asked(tmp_path / "home", folder, rows(tmp_path, *range(12)), PF_WORKER_COUNT="3")
    assert max(line.outputs["y"] for line in flows.lines(workspace.runs.get("mine")) if line.outputs) == 3


def test_pf_line_timeout_sec_ends_a_line(make_flow: Make, tmp_path: Path) -> None:
    folder = make_flow(ONE, say="def say(x):\n    import time\n    time.sleep(x)\n    return x")
    done, workspace = asked(tmp_path / "home", folder, rows(tmp_path, 0, 30), PF_LINE_TIMEOUT_SEC="1")
    assert (done.completed, done.failed) == (1, 1)
    errors = [line.error for line in flows.lines(workspace.runs.get("mine"))]
    assert errors == [None, "Line 1 execution timeout for exceeding 1 seconds"]


def test_pf_batch_timeout_sec_fails_the_run_and_keeps_what_has_ended(make_flow: Make, tmp_path: Path) -> None:
    code = "def say(x):\n    import time\n    time.sleep(x / 10)\n    return x"
    folder = make_flow(ONE, say=code)
    variables = {"PF_BATCH_TIMEOUT_SEC": "1", "PF_WORKER_COUNT": "1"}
    with pytest.raises(Unavailable, match="longer than 1 seconds"):
        asked(tmp_path / "home", folder, rows(tmp_path, *[2] * 40), **variables)
    with Workspace.open(settings=Settings(home=tmp_path / "home")) as workspace:
        record = workspace.runs.get("mine")
        assert record.status == "FAILED"
        kept = [line.status for line in flows.lines(record)]
    assert 0 < len(kept) < 40
    assert set(kept) == {"Completed"}

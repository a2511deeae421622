"""Prompt flow's own command lines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from studiolo.commands import pf
from workspace.errors import Invalid, NotFound, StudioloError

FLOW = """\
inputs:
  question:
    type: string
    default: nothing
  times:
    type: int
    default: 1
outputs:
  answer:
    type: string
    reference: ${say.output}
nodes:
- name: say
  type: python
  source: {type: code, path: say.py}
  inputs: {question: "${inputs.question}", times: "${inputs.times}"}
- name: measure
  type: python
  aggregation: true
  source: {type: code, path: measure.py}
  inputs: {answers: "${say.output}"}
"""
SAY = """\
import os
from promptflow.core import tool
@tool
def say(question: str, times: int = 1) -> str:
    print("asked", question)
    if question == "bad":
        raise ValueError("no")
    return question * times + os.environ.get("SIGN", "")
"""
MEASURE = """\
from promptflow.core import log_metric, tool
@tool
def measure(answers: list):
    log_metric("count", len(answers))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a flow and rows, and a workspace beside them."""
    flow = tmp_path / "flow"
    flow.mkdir()
    (flow / "flow.dag.yaml").write_text(FLOW)
    (flow / "say.py").write_text(SAY)
    (flow / "measure.py").write_text(MEASURE)
    (tmp_path / "rows.jsonl").write_text('{"q": "a"}\n{"q": "b"}\n')
    (tmp_path / "bad.jsonl").write_text('{"q": "a"}\n{"q": "bad"}\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STUDIOLO_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "120")
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], line: str, *more: str) -> tuple[int, str]:
    code = pf.main([*line.split(), *more])
    return code, capsys.readouterr().out


def said(capsys: pytest.CaptureFixture[str], line: str, *more: str) -> Any:
    return json.loads(run(capsys, line, *more)[1])


CREATE = "run create --flow flow --data rows.jsonl --column-mapping question=${data.q} times=2 --name first"


def test_a_run_is_created_and_shown(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out = run(capsys, f"{CREATE} --environment-variables SIGN=! --set tags.team=a display_name=${{run}}/x")
    made = json.loads(out)
    assert code == 0
    assert (made["name"], made["status"], made["display_name"], made["tags"]) == (
        "first", "Completed", "first/x", {"team": "a"},
    )  # fmt: skip
    assert made["data"] == str(folder / "rows.jsonl")
    assert made["properties"]["column_mapping"] == {"question": "${data.q}", "times": 2}
    output = (Path(made["output"]) / "output.jsonl").read_text()
    assert output == '{"line_number": 0, "answer": "aa!"}\n{"line_number": 1, "answer": "bb!"}\n'
    assert said(capsys, "run show --name first") == made
    assert said(capsys, "run show-metrics -n first") == {"count": 2}
    assert (Path(made["properties"]["output_path"]) / "snapshot" / "flow.dag.yaml").read_text() == FLOW


def test_details_are_a_table_and_failed_lines_say_so(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _ = run(capsys, "run create --flow flow --data bad.jsonl --column-mapping question=${data.q} -n r")
    assert code == 1
    table = run(capsys, "run show-details -n r")[1].splitlines()
    assert table[1].split() == ["|", "|", "inputs.question", "|", "inputs.times", "|", "inputs.line_number", "|",
                                "outputs.answer", "|"]  # fmt: skip
    assert "(Failed)" in table[5]
    assert said(capsys, "run show -n r")["error"]["message"].startswith("Failed to run 1/2 lines.")


def test_a_run_yaml_is_run_and_what_it_cannot_say_is_a_warning(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "run.yaml").write_text(
        "flow: flow\ndata: rows.jsonl\ncolour: red\ndescription: About\n"
        "column_mapping: {question: '${data.q}'}\nenvironment_variables: {SIGN: '?'}\n"
    )
    pf.main(["run", "create", "--file", "run.yaml", "--stream"])
    done = capsys.readouterr()
    assert "unknown key 'colour'" in done.err
    assert "asked a" in done.out
    assert "======= Run Summary =======" in done.out
    listed = said(capsys, "run list")
    assert listed[0]["name"].startswith("flow_variant_0_")
    assert listed[0]["description"] == "About"


def test_a_run_is_renamed_put_away_taken_back_and_deleted(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = Path(said(capsys, CREATE)["properties"]["output_path"])
    assert said(capsys, "run update -n first --set display_name=New tags.a=b")["display_name"] == "New"
    run(capsys, "run archive -n first")
    assert said(capsys, "run list") == []
    assert [each["tags"] for each in said(capsys, "run list --archived-only")] == [{"a": "b"}]
    assert len(said(capsys, "run list --include-archived")) == 1
    run(capsys, "run restore -n first")
    assert [each["name"] for each in said(capsys, "run list -r 5")] == ["first"]
    assert "| first" in run(capsys, "run list -o table")[1]
    assert pf.main(["run", "delete", "-n", "first", "-y"]) == 0
    assert said(capsys, "run list --include-archived") == []
    assert not place.exists()


def test_a_run_goes_over_an_earlier_one(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, CREATE)
    made = said(capsys, "run create --flow flow --run first --column-mapping question=${run.outputs.answer} -n second")
    assert made["run"] == "first"
    assert (Path(made["output"]) / "output.jsonl").read_text().splitlines()[0] == '{"line_number": 0, "answer": "aa"}'


def test_the_files_of_runs_go_where_the_settings_say(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out = run(capsys, "config set run.output_path=${flow_directory}/../runs enable_internal_features=true")
    assert (code, out) == (
        0,
        "Set config [{'run.output_path': '${flow_directory}/../runs', 'enable_internal_features': 'true'}] "
        "successfully.\n",
    )
    assert said(capsys, "config show")["enable_internal_features"] == "true"
    assert Path(said(capsys, CREATE)["output"]).resolve() == folder / "runs" / "first" / "flow_outputs"
    with pytest.raises(Invalid, match="own folder"):
        pf.main(["config", "set", "run.output_path=${flow_directory}"])


def test_node_artifacts_are_written_for_those_who_ask(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = said(capsys, f"{CREATE} --node-artifacts")
    names = [file.name for file in (Path(made["output"]).parent / "node_artifacts" / "say").iterdir()]
    assert sorted(names) == ["000000000.jsonl", "000000001.jsonl"]


def test_a_flow_is_tested_and_its_detail_is_left_beside_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "flow test --flow flow --inputs question=a times=3 --environment-variables SIGN=!") == {
        "answer": "aaa!"
    }
    detail = folder / "flow" / ".promptflow"
    assert json.loads((detail / "flow.output.json").read_text()) == {"answer": "aaa!"}
    assert json.loads((detail / "flow.metrics.json").read_text()) == {"count": 1}
    assert run(capsys, "flow test --flow flow --node say --inputs question=b") == (0, "b\n")


def test_a_test_that_fails_ends_with_an_error(folder: Path) -> None:
    with pytest.raises(StudioloError, match="no"):
        pf.main(["flow", "test", "--flow", "flow", "--inputs", "question=bad"])


def test_variables_come_from_the_nearest_env_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / ".env").write_text("SIGN=#\n")
    assert said(capsys, "flow test --flow flow --inputs question=a --environment-variables") == {"answer": "a#"}


def test_a_flow_is_checked_whole(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "flow validate --source flow") == {"result": "Succeeded"}
    (folder / "flow" / "flow.dag.yaml").write_text(FLOW.replace("${say.output}", "${sey.output}"))
    code, out = run(capsys, "flow validate --source flow")
    found = json.loads(out)
    assert (code, found["result"], len(found["errors"])) == (1, "Failed", 2)
    assert ":" in found["errors"][0]["location"]


def test_a_function_becomes_a_flow(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "answer.py").write_text("def ask(question: str) -> str:\n    return question\n")
    assert pf.main(["flow", "save", "--entry", "answer:ask"]) == 0
    assert (folder / "flow.flex.yaml").read_text().strip().strip("{}") == "entry: answer:ask"


def test_connections_are_kept_and_shown_without_secrets(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "mine.yaml").write_text("name: mine\ntype: open_ai\napi_key: canary\nbase_url: https://a\n")
    made = said(capsys, "connection create --file mine.yaml --set base_url=https://b")
    assert (made["name"], made["base_url"], made["api_key"]) == ("mine", "https://b", "******")
    assert [each["name"] for each in said(capsys, "connection list")] == ["mine"]
    assert said(capsys, "connection update -n mine --set organization=o")["organization"] == "o"
    assert "canary" not in run(capsys, "connection show -n mine")[1]
    with pytest.raises(Invalid) as caught:
        pf.main(["connection", "update", "-n", "mine", "--set", "canary"])
    assert "canary" not in str(caught.value)
    assert pf.main(["connection", "delete", "-n", "mine", "-y"]) == 0
    with pytest.raises(NotFound):
        pf.main(["connection", "show", "-n", "mine"])


def test_tools_are_made_checked_and_listed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "tool init --package shop --tool price --set category=shopping")[0] == 0
    found = said(capsys, "tool validate --source shop/shop/price.py")
    assert (found["result"], found["total_count"], found["invalid_count"]) == ("Succeeded", 1, 0)
    listed = said(capsys, "tool list --flow flow")
    assert "promptflow.tools.embedding.embedding" in listed["package"]
    assert listed["code"]["say.py"]["inputs"] == {
        "question": {"type": ["string"]}, "times": {"type": ["int"], "default": 1},
    }  # fmt: skip


def test_what_has_no_place_here_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert pf.main(["service", "start"]) == 0
    assert "studiolo up" in capsys.readouterr().err


def test_the_command_ends_with_one_where_a_line_failed(folder: Path) -> None:
    command = [sys.executable, "-m", "studiolo.cli", "pf", "run", "create", "--flow", "flow", "--data", "bad.jsonl",
               "--column-mapping", "question=${data.q}", "times=1"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=os.environ.copy())
    assert done.returncode == 1, done.stderr
    assert json.loads(done.stdout)["status"] == "Completed"
    assert "1 out of 2 runs failed" in done.stderr
    helped = subprocess.run(
        [sys.executable, "-m", "studiolo.cli", "pf", "run", "--help"], capture_output=True, text=True, check=False
    )
    assert "show-details" in helped.stdout

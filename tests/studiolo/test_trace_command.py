"""`studiolo trace`: what was tried is listed, and drawn as a tree."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from studiolo.cli import app
from studiolo.flow_trials import try_flow
from workspace.errors import Invalid, NotFound
from workspace.home import Workspace

TALK = """\
inputs: {question: {type: string, is_chat_input: true}, chat_history: {type: list, is_chat_history: true, default: []}}
outputs: {answer: {type: string, reference: "${echo.output}", is_chat_output: true}}
nodes:
- name: echo
  type: prompt
  source: {type: code, path: echo.jinja2}
  inputs: {said: "${inputs.question}"}
"""


@pytest.fixture(autouse=True)
def here(workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDIOLO_HOME", str(workspace.home))
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    say("flow", "init", "--flow", "mine", "--type", "flex")


def say(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env={"NO_COLOR": "1"}, catch_exceptions=False)


def test_what_was_tried_is_listed_and_drawn() -> None:
    say("flow", "test", "--flow", "mine", "--inputs", "question=one two")
    (trace,) = json.loads(say("trace", "list", "--json").stdout)
    assert (trace["flow"], trace["path"], trace["line"]["inputs"]["question"]) == ("mine", "test", "one two")
    drawn = say("trace", "show", trace["id"][:8], "--verbose").stdout
    assert "words  function" in drawn
    assert "one two" in drawn
    assert trace["id"] in say("trace", "list").stdout


def test_a_line_of_a_run_is_drawn_by_the_runs_name() -> None:
    say("flow", "run", "--flow", "mine", "--data", "mine/data.jsonl", "--name", "two")
    assert "two, line 1  Completed" in say("trace", "show", "two", "--line", "1").stdout
    with pytest.raises(NotFound, match="no line 7"):
        say("trace", "show", "two", "--line", "7")
    with pytest.raises(NotFound, match="no trace and no run"):
        say("trace", "show", "absent")


def test_tokens_and_cost_are_told_of_each_line_and_of_the_run(workspace: Workspace) -> None:
    Path("mine/flow.py").write_text("""\
from flows.spans import child, record_usage


def flow(question: str) -> str:
    with child("llm", "ask"):
        record_usage(prompt_tokens=1000, completion_tokens=len(question), model="small-1")
    return question
""")
    Path("mine/flow.flex.yaml").write_text("entry: flow:flow\n")
    Path("mine/two.jsonl").write_text('{"question": "abcd"}\n{"question": "ab"}\n')
    (workspace.home / "prices.yaml").write_text("small-*: {input: 2000, output: 500000}\n")
    say("flow", "run", "--flow", "mine", "--data", "mine/two.jsonl", "--name", "paid")
    lines = [json.loads(line) for line in say("flow", "show", "paid", "--json").stdout.splitlines()]
    assert [(line["tokens"], line["cost"]) for line in lines] == [(1004, 4.0), (1002, 3.0)]
    shown = say("flow", "show", "paid")
    assert [row.split()[-2:] for row in shown.stdout.splitlines()] == [["tokens", "cost"], ["1004", "4"], ["1002", "3"]]
    assert "2,006 tokens, $7.0000" in shown.stderr
    drawn = say("trace", "show", "paid").stdout
    assert "1000 → 4 tokens · $4.000000" in drawn
    assert workspace.sql("SELECT cost, model FROM spans ORDER BY 1").rows == [(3.0, "small-1"), (4.0, "small-1")]


def test_every_way_to_try_a_flow_leaves_a_trace(workspace: Workspace) -> None:
    say("flow", "test", "--flow", "mine", "--inputs", "question=a")
    say("pf", "flow", "test", "--flow", "mine", "--inputs", "question=b")
    try_flow(workspace, "project/mine", {"question": "c"})
    Path("talk").mkdir()
    Path("talk/flow.dag.yaml").write_text(TALK)
    Path("talk/echo.jinja2").write_text("{{said}}!")
    CliRunner().invoke(app, ["flow", "test", "--flow", "talk", "--interactive"], input="d\ne\n", catch_exceptions=False)
    listed = json.loads(say("trace", "list", "--json").stdout)
    assert sorted(each["line"]["inputs"]["question"] for each in listed) == ["a", "b", "c", "d", "e"]


def test_a_trace_is_sent_where_somebody_asks(workspace: Workspace) -> None:
    from mlflow import MlflowClient

    say("flow", "test", "--flow", "mine", "--inputs", "question=a b", "--trace", "mlflow")
    done = say("flow", "run", "--flow", "mine", "--data", "mine/data.jsonl", "--name", "two", "--trace", "mlflow")
    assert "2 lines sent to mlflow" in done.stderr
    client = MlflowClient(f"sqlite:///{workspace.home / 'mlflow.db'}")
    (experiment,) = [each for each in client.search_experiments() if each.name.endswith("/traces")]
    found: Any = client.search_traces(locations=[experiment.experiment_id])
    kinds = sorted(trace.data.spans[0].attributes["studiolo.kind"] for trace in found)
    assert kinds == ["batch", "batch", "test"]
    for wrong, why in (("otlp", "OTEL_EXPORTER_OTLP_ENDPOINT"), ("jaeger", "no such place")):
        with pytest.raises(Invalid, match=why):
            say("flow", "run", "--flow", "mine", "--data", "mine/data.jsonl", "--name", "never", "--trace", wrong)
    with pytest.raises(NotFound):
        workspace.runs.get("never")

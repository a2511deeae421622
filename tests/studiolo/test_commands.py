"""The commands that look: people get tables, programs get JSON on stdout and nothing else."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from studiolo.cli import app
from workspace.home import Workspace

Say = Callable[..., str]


@pytest.fixture
def say(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Say:
    """Run a command on the workspace and return what it wrote to stdout."""
    monkeypatch.setenv("STUDIOLO_HOME", str(workspace.home))

    def run(*arguments: str, code: int = 0) -> str:
        done = CliRunner().invoke(app, list(arguments), env={"NO_COLOR": "1"}, catch_exceptions=False)
        assert done.exit_code == code, done.output
        return done.stdout

    return run


def test_runs_are_listed_for_people_and_for_programs(say: Say, workspace: Workspace) -> None:
    with workspace.run("flow", name="mine") as run:
        run.log_metrics({"accuracy": 0.75})
    assert "accuracy 0.75" in say("runs", "list")
    assert json.loads(say("runs", "list", "--json"))[0]["metrics"] == {"accuracy": 0.75}
    assert json.loads(say("runs", "show", "mine", "--json"))["run_id"] == run.run_id
    assert "metric accuracy" in say("runs", "show", "mine")


def test_a_name_with_markup_and_control_characters_is_shown_as_it_is(say: Say, workspace: Workspace) -> None:
    with workspace.run("flow", name="mine", params={"note": "[red]a\x1b[31mb[/red]"}):
        pass
    shown = say("runs", "show", "mine")
    assert "[red]a" in shown
    assert "\x1b" not in shown


def test_models_are_listed(say: Say, workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "config.json").write_text("{}")
    properties = {"task": "chat", "parameters": 134_515_008, "license": "apache-2.0", "source": {"package": "llm"}}
    workspace.assets.put("model", "small", tmp_path / "weights", properties=properties)
    assert "135 M" in say("models", "list")
    assert "source.package" in say("models", "show", "small")
    assert json.loads(say("models", "show", "small", "--json"))["asset"]["name"] == "small"


def test_lineage_is_a_tree_for_people_and_edges_for_programs(say: Say, workspace: Workspace) -> None:
    data = workspace.assets.put("data", "questions", b"{}")
    with workspace.run("eval", name="scored", inputs=[data]) as run:
        run.output(workspace.assets.put("report", "demo", b"<html>"))
    tree = say("lineage", "report:demo").splitlines()
    assert tree[0].startswith("report demo:1")
    assert tree[1].startswith("└─ eval run scored")
    assert "data questions:1" in tree[2]
    assert len(json.loads(say("lineage", "report:demo", "--json"))["upstream"]) == 2


def test_sql_answers_as_a_table_as_json_and_as_csv(say: Say, workspace: Workspace) -> None:
    with workspace.run("flow", name="a quoted name"):
        pass
    query = "SELECT name, status FROM runs"
    assert "FINISHED" in say("sql", query)
    assert json.loads(say("sql", query, "--json")) == [{"name": "a quoted name", "status": "FINISHED"}]
    assert list(csv.reader(io.StringIO(say("sql", query, "--csv")))) == [
        ["name", "status"],
        ["a quoted name", "FINISHED"],
    ]


def test_sync_carries_runs_once(say: Say, workspace: Workspace) -> None:
    with workspace.run("flow", name="mine"):
        pass
    assert json.loads(say("sync", "--json"))["runs_carried"] == 1
    assert json.loads(say("sync", "--json"))["runs_carried"] == 0


def test_status_says_that_nothing_runs(say: Say) -> None:
    assert "studiolo up" in say("status")
    assert json.loads(say("status", "--json"))["services"] == []


def test_down_where_nothing_runs_is_no_error(say: Say) -> None:
    assert "nothing was running" in say("down")

"""`studiolo trace`: what was tried is listed, and drawn as a tree."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from studiolo.cli import app
from workspace.errors import NotFound
from workspace.home import Workspace


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

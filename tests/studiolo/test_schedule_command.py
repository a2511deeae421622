"""`studiolo schedule` and `studiolo event-rule`: what people and programs are shown, and what is refused."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from jobs import records, submit
from studiolo.cli import app
from workspace.errors import NotFound, StudioloError
from workspace.home import Workspace

Say = Callable[..., str]
SCHEDULE = """\
name: nightly
display_name: Every night
trigger:
  type: cron
  expression: "30 2 * * *"
  time_zone: W. Europe Standard Time
create_job: ./job.yml
"""


@pytest.fixture
def say(workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Say:
    """Run a command in a folder with `nightly.yml` and `job.yml`, and return what it wrote to stdout."""
    (tmp_path / "job.yml").write_text("command: echo hello ${{inputs.whom}}\ninputs:\n  whom: world\n")
    (tmp_path / "nightly.yml").write_text(SCHEDULE)
    monkeypatch.setenv("STUDIOLO_HOME", str(workspace.home))
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> str:
        done = CliRunner().invoke(app, list(arguments), env={"NO_COLOR": "1"}, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout

    return run


def value(said: str) -> Any:
    return json.loads(said)


def test_a_schedule_is_made_shown_and_listed_with_when_it_runs_next(say: Say) -> None:
    made = say("schedule", "create", "-f", "nightly.yml")
    assert made.startswith("nightly: job, 30 2 * * * W. Europe Standard Time, enabled\nnext  ")
    assert "T02:30:00+0" in made
    shown = value(say("schedule", "show", "--name", "nightly", "-o", "json"))
    assert (shown["display_name"], shown["is_enabled"], len(shown["next_runs"])) == ("Every night", True, 5)
    assert shown["trigger"]["expression"] == "30 2 * * *"
    assert "hello" in shown["create_job"]["command"]
    assert "nightly" in say("schedule", "list")
    assert value(say("schedule", "list", "--query", "[].name")) == ["nightly"]


def test_it_is_disabled_and_enabled(say: Say) -> None:
    say("schedule", "create", "-f", "nightly.yml")
    assert "next  only when asked for" in say("schedule", "disable", "nightly")
    assert value(say("schedule", "list", "--json")) == []
    assert value(say("schedule", "list", "--include-disabled", "--json"))[0]["is_enabled"] is False
    assert value(say("schedule", "list", "--disabled-only", "--json"))[0]["next_run"] is None
    assert "enabled\nnext  20" in say("schedule", "enable", "nightly")


def test_it_is_changed_by_values_and_by_a_file(say: Say, tmp_path: Path) -> None:
    say("schedule", "create", "-f", "nightly.yml")
    said = say("schedule", "update", "nightly", "--set", "trigger.expression=0 4 * * *", "--add", "tags.team=red")
    assert "0 4 * * *" in said
    assert value(say("schedule", "show", "nightly", "--query", "tags")) == {"team": "red"}
    say("schedule", "update", "nightly", "--remove", "tags.team")
    (tmp_path / "other.yml").write_text(SCHEDULE.replace("nightly", "x").replace("30 2 * * *", "0 5 * * *"))
    assert "0 5 * * *" in say("schedule", "update", "nightly", "-f", "other.yml")
    assert value(say("schedule", "list", "--query", "[].name")) == ["nightly"]


def test_it_is_triggered_with_other_values(say: Say, workspace: Workspace) -> None:
    say("schedule", "create", "-f", "nightly.yml")
    name = say("schedule", "trigger", "nightly", "--set", "inputs.whom=Ada").strip()
    assert b"".join(submit.stream(workspace, name)) == b"hello Ada\n"
    shown = value(say("schedule", "show", "nightly", "--query", "firings[0]"))
    assert (shown["job"], shown["cause"], shown["status"]) == (name, "hand", "started")
    assert name in say("schedule", "show", "nightly")


def test_a_job_without_a_clock(say: Say, workspace: Workspace) -> None:
    said = say("schedule", "create", "--job", "job.yml", "--name", "greet", "--set", "inputs.whom=you")
    assert said.startswith("greet: job, when asked for, enabled\nnext  only when asked for")
    name = say("schedule", "trigger", "greet").strip()
    assert b"".join(submit.stream(workspace, name)) == b"hello you\n"


def test_what_is_due_is_fired_from_a_terminal(say: Say, workspace: Workspace) -> None:
    Path("nightly.yml").write_text(
        "name: now\ntrigger: {type: recurrence, frequency: day, interval: 1}\ncreate_job: job.yml\n"
    )
    say("schedule", "create", "-f", "nightly.yml")
    assert ": started" in say("schedule", "run", "--once")
    assert say("schedule", "run", "--once").strip() == ""
    (job,) = records.list_jobs(workspace)
    submit.wait(workspace, job.name, seconds=60)
    assert job.name.startswith("now-20")


def test_it_is_removed(say: Say) -> None:
    say("schedule", "create", "-f", "nightly.yml")
    say("schedule", "delete", "nightly", "--yes")
    with pytest.raises(NotFound, match="no schedule 'nightly'"):
        say("schedule", "show", "nightly")


def test_az_takes_the_same_lines(say: Say) -> None:
    say("az", "ml", "schedule", "create", "--file", "nightly.yml")
    assert value(say("az", "ml", "schedule", "show", "--name", "nightly"))["name"] == "nightly"
    say("az", "ml", "schedule", "disable", "-n", "nightly")
    say("az", "ml", "schedule", "delete", "-n", "nightly")


def test_a_key_for_one_schedule(say: Say) -> None:
    say("schedule", "create", "-f", "nightly.yml")
    say("key", "create", "ci", "--endpoint", "trigger:nightly")
    with pytest.raises(NotFound, match="trigger:nightl'"):
        say("key", "create", "ci", "--endpoint", "trigger:nightl")


def test_a_rule_for_events_is_made_tried_looked_at_and_removed(say: Say, workspace: Workspace, tmp_path: Path) -> None:
    script = "import sys; open('out', 'w').write(sys.stdin.read())"
    say("event-rule", "create", "keep", "--type", "RunFailed", "--tag", "team=red", "--", sys.executable, "-c", script)
    assert value(say("event-rule", "list", "--json"))[0]["types"] == ["Studiolo.RunFailed"]
    assert say("event-rule", "test", "keep").startswith("delivered: exit code 0")
    assert json.loads((workspace.home / "out").read_text())["type"] == "Studiolo.Test"
    assert value(say("event-rule", "show", "keep", "--json"))["deliveries"] == {"delivered": 1}
    assert "Studiolo.Test" in say("event-rule", "log", "keep")
    say("event-rule", "delete", "keep", "-y")
    assert value(say("event-rule", "list", "--json")) == []


def test_a_test_that_is_not_taken_is_an_error(say: Say) -> None:
    said = say("event-rule", "create", "hook", "--webhook", "http://127.0.0.1:9/", "--inside")
    assert said.startswith("whsec_")
    with pytest.raises(StudioloError, match="not taken"):
        say("event-rule", "test", "hook")
    assert value(say("event-rule", "log", "hook", "--dead", "--query", "[].status")) == ["dead"]

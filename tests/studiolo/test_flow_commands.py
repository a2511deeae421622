"""`studiolo flow` from the first folder to the last look: init, validate, run, look, put away, promote."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from studiolo.cli import app
from workspace.errors import Conflict, Invalid, NotFound, Unavailable
from workspace.home import Workspace

Say = Callable[..., Result]


@pytest.fixture
def say(workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Say:
    """Run a command in an empty folder."""
    monkeypatch.setenv("STUDIOLO_HOME", str(workspace.home))
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["flow", *arguments], env={"NO_COLOR": "1"}, catch_exceptions=False)

    return run


@pytest.fixture
def graded(say: Say) -> str:
    """Make the evaluation starter, run it and return the run's name."""
    say("init", "--flow", "grade", "--type", "evaluation")
    assert (
        json.loads(say("run", "--flow", "grade", "--data", "grade/data.jsonl", "--name", "one").stdout)["failed"] == 0
    )
    return "one"


def test_a_new_flow_says_what_to_do_next_and_that_works(say: Say) -> None:
    made = say("init", "--flow", "mine")
    assert "mine/flow.dag.yaml" in made.stdout
    assert "next: studiolo flow test --flow mine --inputs mine/data.jsonl" in made.stderr
    assert "Dear Ada" in json.loads(say("test", "--flow", "mine", "--inputs", "mine/data.jsonl").stdout)["letter"]
    with pytest.raises(Conflict):
        say("init", "--flow", "mine")


def test_all_that_is_wrong_is_said_at_once_with_its_lines(say: Say) -> None:
    say("init", "--flow", "mine")
    assert "nothing is wrong" in say("validate", "--flow", "mine").stdout
    file = Path("mine/flow.dag.yaml")
    text = file.read_text().replace("${sign.output}", "${sing.output}").replace("letter.jinja2", "leter.jinja2")
    file.write_text(text)
    lines = text.splitlines()
    with pytest.raises(Invalid, match="2 errors in mine"):
        say("validate", "--flow", "mine")
    found = CliRunner().invoke(app, ["flow", "validate", "--flow", "mine"], env={"NO_COLOR": "1"}).stdout
    for word in ("${sing.output}", "leter.jinja2"):
        number = next(at for at, line in enumerate(lines, 1) if word in line)
        assert f"mine/flow.dag.yaml:{number}:" in found
    asked = CliRunner().invoke(app, ["flow", "validate", "--flow", "mine", "--json"])
    assert [each["severity"] for each in json.loads(asked.stdout)] == ["error", "error"]


def test_details_are_a_column_for_each_input_and_output(say: Say, graded: str) -> None:
    rows = json.loads(say("details", graded, "--json").stdout)
    assert rows[1] == {
        "inputs.expected": "Rome", "inputs.answer": "Milan", "inputs.line_number": 1, "outputs.grade": "wrong",
    }  # fmt: skip
    say("details", graded, "-o", "rows.csv")
    with Path("rows.csv").open(encoding="utf-8") as file:
        assert [row["outputs.grade"] for row in csv.DictReader(file)] == ["right", "wrong"]
    with pytest.raises(Invalid, match="no kind of table"):
        say("details", graded, "-o", "rows.xyz")


def test_metrics_are_the_flows_and_the_runs(say: Say, graded: str) -> None:
    assert json.loads(say("metrics", graded, "--json").stdout) == {
        "accuracy": 0.5, "lines.completed": 2.0, "lines.failed": 0.0, "tokens.prompt": 0.0, "tokens.completion": 0.0,
    }  # fmt: skip
    assert "accuracy" in say("metrics", graded).stdout


def test_a_run_is_put_away_taken_back_and_deleted(say: Say, graded: str, workspace: Workspace) -> None:
    def listed(*options: str) -> list[str]:
        return [each["name"] for each in json.loads(say("list", "--json", *options).stdout)]

    say("archive", graded)
    assert (listed(), listed("--archived")) == ([], [graded])
    say("restore", graded)
    assert (listed(), listed("--archived")) == ([graded], [])
    folder = workspace.runs.get(graded).directory
    with pytest.raises(Invalid, match="nothing was deleted"):
        CliRunner().invoke(app, ["flow", "delete", graded], input="n\n", catch_exceptions=False)
    assert folder.exists()
    say("delete", graded, "--yes")
    assert not folder.exists()
    with pytest.raises(NotFound):
        say("show", graded)


def test_a_run_is_drawn_as_a_page_of_its_own(say: Say, graded: str) -> None:
    say("run", "--flow", "grade", "--data", "grade/data.jsonl", "--name", "two")
    assert say("visualize", graded, "two", "-o", "page.html").stdout.strip() == "page.html"
    page = Path("page.html").read_text(encoding="utf-8")
    assert "Milan" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page


def test_a_label_names_a_version_wherever_a_flow_is_named(say: Say, graded: str) -> None:
    assert "grade@prod is version 1" in say("promote", "grade:1", "--to", "prod").stdout
    tool = Path("grade/grade.py")
    tool.write_text(tool.read_text().replace('"wrong"', '"not right"'))
    say("promote", "grade", "--to", "next")
    asked = ("--inputs", "expected=Rome", "--inputs", "answer=Milan")
    assert json.loads(say("test", "--flow", "flow:grade@prod", *asked).stdout)["grade"] == "wrong"
    assert json.loads(say("test", "--flow", "flow:grade@next", *asked).stdout)["grade"] == "not right"
    say("run", "--flow", "flow:grade@prod", "--data", "grade/data.jsonl", "--name", "promoted")
    listed = {each["name"]: each["params"]["flow"] for each in json.loads(say("list", "--json").stdout)}
    assert listed["promoted"] == listed[graded] == "flow:grade:1"
    with pytest.raises(NotFound):
        say("test", "--flow", "flow:grade@absent")


def test_a_difference_is_told_in_words(say: Say) -> None:
    say("init", "--flow", "a")
    say("init", "--flow", "b")
    assert "mean the same" in say("diff", "a", "b").stdout
    template = Path("b/letter.jinja2")
    template.write_text(template.read_text().replace("Dear", "Hello"))
    shown = say("diff", "a", "b").stdout
    assert "~ node letter" in shown
    assert "+Hello {{name}}," in shown


def test_a_column_that_a_default_hides_is_pointed_out(say: Say) -> None:
    say("init", "--flow", "mine")
    file = Path("mine/flow.dag.yaml")
    file.write_text(file.read_text().replace("type: string\n", "type: string\n    default: Zoe\n", 1))
    done = say("run", "--flow", "mine", "--data", "mine/data.jsonl", "--name", "hidden")
    assert "the data has a column 'name', but the input keeps its default" in done.stderr
    assert "name='${data.name}'" in done.stderr
    mapped = say("run", "--flow", "mine", "--data", "mine/data.jsonl", "--column-mapping", "name=${data.name}")
    assert "keeps its default" not in mapped.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("init", "--flow", "taken/new"),
        ("build", "--source", "mine", "--output", "taken/built"),
        ("test", "--flow", "mine", "--inputs", "name=Ada", "--detail", "taken/detail"),
    ],
)
def test_a_place_that_cannot_be_written_is_said(say: Say, arguments: tuple[str, ...]) -> None:
    say("init", "--flow", "mine")
    Path("taken").write_text("a file where a folder should be")
    with pytest.raises(Unavailable, match=r"cannot write .*taken"):
        say(*arguments)

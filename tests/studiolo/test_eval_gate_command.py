from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner, Result

from evals.samples import LOG, Sample, Score, as_line
from studiolo.commands.eval import app
from workspace import RunRecord, Workspace
from workspace.errors import Invalid, NotFound

Answered = Callable[..., RunRecord]
Studiolo = Callable[..., Result]


@pytest.fixture
def studiolo(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Studiolo:
    monkeypatch.setenv("STUDIOLO_HOME", str(workspace.home))
    return lambda *words: CliRunner().invoke(app, words)


@pytest.fixture
def scored(studiolo: Studiolo, answered: Answered) -> Callable[..., None]:
    """Make a flow run with that many wrong answers of ten, and score it."""

    def make(name: str, wrong: set[int]) -> None:
        answered(name, wrong=wrong)
        studiolo("score", name, "--scorer", "exact", "--expected", "answer", "--name", f"{name}-scored")

    return make


def test_a_run_without_a_baseline_passes_and_is_told_how_to_make_one(
    studiolo: Studiolo, scored: Callable[..., None]
) -> None:
    scored("first", set())
    result = studiolo("gate", "first")
    assert result.exit_code == 0
    assert "no baseline 'main' yet" in result.stdout
    assert "studiolo eval bless first --as main" in result.stdout


def test_what_is_blessed_is_what_the_gate_compares_with_until_something_else_is(
    studiolo: Studiolo, scored: Callable[..., None], tmp_path: Path
) -> None:
    for name, wrong in (("good", set()), ("bad", set(range(8))), ("again", set())):
        scored(name, wrong)
    assert studiolo("bless", "good", "--as", "main").exit_code == 0
    outputs = [str(tmp_path / f"r{ending}") for ending in (".json", ".html", ".md", ".xml", ".txt")]
    failed = studiolo("gate", "bad", *(word for path in outputs for word in ("-o", path)))
    assert failed.exit_code == 3
    assert failed.stdout.startswith("gate failed")
    assert studiolo("gate", "again").exit_code == 0
    told = json.loads(Path(outputs[0]).read_text())
    assert told["passed"] is False
    assert told["decision"]["failures"]
    assert "gate failed" in Path(outputs[1]).read_text()
    assert "❌ gate failed" in Path(outputs[2]).read_text()
    assert ElementTree.parse(outputs[3]).getroot().get("failures") == "9"  # noqa: S314 - our own; 8 rows and the verdict
    assert Path(outputs[4]).read_text().count("::error ") == 9
    assert studiolo("bless", "bad", "--as", "main").exit_code == 0
    assert studiolo("gate", "bad").exit_code == 0


def test_a_typo_in_the_name_of_a_baseline_opens_no_gate(
    studiolo: Studiolo, scored: Callable[..., None], tmp_path: Path
) -> None:
    scored("good", set())
    studiolo("bless", "good", "--as", "champion", "-o", str(tmp_path / "baseline.json"))
    for wrong, meant in (("@champoin", "champion"), (str(tmp_path / "basline.json"), "baseline.json")):
        refused = studiolo("gate", "good", "--baseline", wrong).exception
        assert isinstance(refused, NotFound)
        assert meant in str(refused.hint)


@pytest.mark.parametrize(("stopped", "told"), [(True, "is paused, not finished"), (False, "has no scores")])
def test_a_run_that_is_not_over_or_has_no_scores_is_not_blessed(
    studiolo: Studiolo, workspace: Workspace, stopped: bool, told: str
) -> None:
    score = Score(value=1.0) if stopped else Score(error="no number")
    sample = Sample(number=0, row="a", inputs={}, answer="x", scores={"exact": score})
    with workspace.run("eval", name="half") as run:
        (run.directory / LOG).write_text(as_line(sample))
        if stopped:
            run.pause("interrupted")
    refused = studiolo("bless", "half", "--as", "main").exception
    assert isinstance(refused, Invalid)
    assert told in refused.message


def test_a_committed_baseline_gates_without_the_run_that_it_was(
    studiolo: Studiolo, scored: Callable[..., None], tmp_path: Path
) -> None:
    scored("good", set())
    scored("bad", set(range(8)))
    path = tmp_path / "baseline.json"
    assert studiolo("bless", "good", "-o", str(path)).exit_code == 0
    assert studiolo("gate", "bad", "--baseline", str(path)).exit_code == 3
    assert studiolo("gate", "good", "--baseline", str(path)).exit_code == 0
    assert isinstance(studiolo("bless", "good").exception, Invalid)


def test_the_text_the_data_and_the_exit_code_say_the_same(studiolo: Studiolo, scored: Callable[..., None]) -> None:
    scored("good", set())
    scored("near", {1})
    studiolo("bless", "good", "--as", "main")
    for options in ([], ["--max-regressions", "0"], ["--require-power"], ["--margin", "1.0"]):
        text, data = studiolo("gate", "near", *options), studiolo("gate", "near", *options, "--json")
        passed = json.loads(data.stdout)["passed"]
        assert text.stdout.startswith("gate passed" if passed else "gate failed")
        assert text.exit_code == data.exit_code == (0 if passed else 3)


def test_three_runs_are_ranked_and_each_is_compared_with_the_first(
    studiolo: Studiolo, scored: Callable[..., None]
) -> None:
    for name, wrong in (("poor", set(range(8))), ("fair", {1, 2, 3}), ("best", set())):
        scored(name, wrong)
    data = json.loads(studiolo("compare", "poor", "fair", "best", "--json").stdout)
    assert list(data["strengths"]) == ["best", "fair", "poor"]
    assert data["comparisons"]["best"]["verdict"] == "improved"
    assert data["comparisons"]["best"]["p"] >= data["comparisons"]["best"]["measured"]["test"]["p"]
    assert "the strongest first" in studiolo("compare", "poor", "fair", "best").stdout


def test_the_planner_says_rows_and_what_can_be_seen(studiolo: Studiolo, scored: Callable[..., None]) -> None:
    data = json.loads(studiolo("plan", "--disagreement", "0.1", "--rows", "500", "--json").stdout)
    assert data["rows_needed"] == 870
    assert data["enough"] is False
    assert data["visible"] == pytest.approx(0.04, abs=0.002)
    clustered = json.loads(
        studiolo("plan", "--disagreement", "0.1", "--cluster-size", "10", "--alike", "0.3", "--json").stdout
    )
    assert clustered["rows_needed"] == pytest.approx(870 * 3.7, abs=1)
    scored("one", {1})
    scored("two", {2, 3})
    text = studiolo("plan", "one", "--against", "two").stdout
    assert "30 % of rows that disagree" in text
    assert "10 rows show" in text
    assert "underpowered" in text

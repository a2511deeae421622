from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from studiolo.commands.eval import app
from workspace import RunRecord, Workspace
from workspace.errors import Invalid, PartialFailure

Answered = Callable[..., RunRecord]


@pytest.fixture
def studiolo(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setenv("STUDIOLO_HOME", str(workspace.home))
    return lambda *words: CliRunner().invoke(app, words)


def test_scores_are_printed_with_their_interval(studiolo: Callable[..., Result], answered: Answered) -> None:
    answered("mine", wrong={1})
    result = studiolo("score", "mine", "--scorer", "exact", "--expected", "answer")
    assert result.exit_code == 0
    assert "exact 0.900 (95 % interval 0.596 to 0.982)" in result.stdout


def test_a_row_without_a_score_makes_a_partial_failure(studiolo: Callable[..., Result], answered: Answered) -> None:
    answered("mine", broken={1})
    assert isinstance(studiolo("score", "mine", "--scorer", "exact", "--expected", "answer").exception, PartialFailure)


def test_scoring_by_comparison_needs_the_expected_column(studiolo: Callable[..., Result], answered: Answered) -> None:
    answered("mine")
    assert isinstance(studiolo("score", "mine", "--scorer", "exact").exception, Invalid)


def test_a_regression_fails_the_gate_with_its_own_exit_code(
    studiolo: Callable[..., Result], answered: Answered, tmp_path: Path
) -> None:
    for name, wrong in (("good", set()), ("bad", set(range(8)))):
        answered(name, wrong=wrong)
        studiolo("score", name, "--scorer", "exact", "--expected", "answer")
    page = tmp_path / "report.html"
    worse = studiolo("compare", "good", "bad", "--fail-on-regression", "-o", str(page))
    assert worse.exit_code == 3
    assert worse.stdout.startswith("regressed")
    assert page.exists()
    assert studiolo("compare", "good", "bad").exit_code == 0
    assert studiolo("compare", "bad", "good", "--fail-on-regression").exit_code == 0
    data = json.loads(studiolo("compare", "bad", "good", "--json").stdout)
    assert (data["verdict"], data["fixed"]) == ("improved", 8)


def test_scorings_are_listed_and_their_rows_shown(studiolo: Callable[..., Result], answered: Answered) -> None:
    answered("mine", wrong={1})
    studiolo("score", "mine", "--scorer", "exact", "--expected", "answer", "--name", "scored")
    assert "scored" in studiolo("list").stdout
    assert studiolo("show", "mine", "--failed").stdout.split() == ["q1", "exact=0", "wrong"]
    assert json.loads(studiolo("list", "--json").stdout)[0]["name"] == "scored"

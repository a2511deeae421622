from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from evals import scorers
from evals.reports.publish import publish
from evals.reports.sides import scored
from evals.score import score
from workspace import RunRecord, Workspace
from workspace.errors import Invalid, NotFound

Answered = Callable[..., RunRecord]


@pytest.fixture
def two_runs(workspace: Workspace, answered: Answered) -> Workspace:
    """Flow runs "bad" and "good", both scored."""
    for name, wrong in (("bad", set(range(8))), ("good", set())):
        for _ in score(workspace, answered(name, wrong=wrong), {"exact": scorers.get("exact")}, expected="answer"):
            pass
    return workspace


def test_two_flow_runs_are_compared_by_their_scorings(two_runs: Workspace) -> None:
    published = publish(two_runs, "bad", "good", name="mine")
    assert published.report.comparison.verdict == "improved"
    assert (published.report.before, published.report.after) == ("bad", "good")
    assert len(published.report.comparison.gains) == 8


def test_the_report_is_kept_as_an_asset_with_all_its_files(two_runs: Workspace) -> None:
    asset = publish(two_runs, "bad", "good", name="mine").asset
    assert asset.ref == "report:mine:1"
    files = {path.name for path in two_runs.assets.path(asset).iterdir()}
    assert files == {"report.html", "report.md", "junit.xml", "report.json", "annotations.txt"}


def test_lineage_leads_from_the_report_to_runs_flow_and_data(two_runs: Workspace) -> None:
    tree = two_runs.lineage.tree(publish(two_runs, "bad", "good", name="mine").asset.ref)
    assert all(part in tree for part in ("report mine:1", "comparison", "flow run bad", "flow run good", "data rows:1"))


def test_settings_name_flow_data_their_hashes_and_the_scorer(two_runs: Workspace) -> None:
    facts = {fact.name: fact for fact in publish(two_runs, "bad", "good").report.facts}
    assert facts["data"].same
    assert facts["data hash"].before.startswith("sha256:")
    assert not facts["flow hash"].same
    assert facts["scorer"].before == "exact"


def test_copies_are_written_by_their_endings(two_runs: Workspace, tmp_path: Path) -> None:
    paths = [tmp_path / "out" / f"r{ending}" for ending in (".html", ".md", ".xml", ".json")]
    publish(two_runs, "bad", "good", outputs=paths)
    assert paths[0].read_text().startswith("<!doctype html>")
    assert paths[2].read_text().startswith("<?xml")
    assert json.loads(paths[3].read_text())["verdict"] == "improved"


def test_an_ending_that_no_report_has_is_refused_before_anything_is_done(two_runs: Workspace) -> None:
    with pytest.raises(Invalid, match=r"\.pdf"):
        publish(two_runs, "bad", "good", outputs=[Path("r.pdf")])
    assert two_runs.runs.list(kind="comparison") == []


def test_a_flow_run_without_scores_says_how_to_get_them(workspace: Workspace, answered: Answered) -> None:
    answered("fresh")
    with pytest.raises(NotFound) as caught:
        scored(workspace, "fresh")
    assert "eval score fresh" in str(caught.value.hint)


def test_the_comparison_is_a_run_with_its_numbers(two_runs: Workspace) -> None:
    record = two_runs.runs.get(publish(two_runs, "bad", "good").report.run_id)
    assert record.tags["verdict"] == "improved"
    assert record.metrics["change"] == pytest.approx(0.8)
    assert record.metrics["change.low"] > 0

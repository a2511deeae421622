from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from evals.baselines import Baseline, bless, find, read, write
from evals.compare import compare
from evals.samples import Sample
from workspace import Workspace
from workspace.errors import Invalid, NotFound

Sampled = Callable[[str], tuple[Sample, ...]]


def baseline(samples: tuple[Sample, ...], name: str = "first") -> Baseline:
    return Baseline(name=name, task="my sums", samples=samples, facts={"data": "rows:1"})


def test_a_committed_baseline_compares_as_the_run_that_it_was(sampled: Sampled, tmp_path: Path) -> None:
    samples = tuple(replace(s, cluster="c", metadata={"severity": "critical"}) for s in sampled("++-e+"))
    write(tmp_path / "b.json", baseline(samples))
    found = read(tmp_path / "b.json")
    after = sampled("+--++")
    assert compare(found.samples, after).measured == compare(samples, after).measured
    assert (found.name, found.task, found.facts) == ("first", "my sums", {"data": "rows:1"})
    assert found.samples[0].answer == samples[0].answer
    assert found.samples[3].error == samples[3].error


def test_a_baseline_file_has_a_line_for_each_row_and_no_questions(sampled: Sampled, tmp_path: Path) -> None:
    write(tmp_path / "b.json", baseline(sampled("++-")))
    text = (tmp_path / "b.json").read_text()
    assert len([line for line in text.splitlines() if line.startswith('{"number"')]) == 3
    assert "What is" not in text
    assert json.loads(text)["format"] == "studiolo-baseline/1"


def test_a_label_stays_where_it_is_until_something_else_is_blessed(sampled: Sampled, workspace: Workspace) -> None:
    bless(workspace, baseline(sampled("++"), "first"), "main")
    bless(workspace, baseline(sampled("+-"), "second"), "@champion")
    kept = {label: find(workspace, label, task="my sums") for label in ("main", "@main", "@champion")}
    assert {label: found and found.name for label, found in kept.items()} == {
        "main": "first",
        "@main": "first",
        "@champion": "second",
    }
    bless(workspace, baseline(sampled("--"), "third"), "main")
    moved = find(workspace, "main", task="my sums")
    assert moved is not None
    assert moved.name == "third"


def test_what_was_never_blessed_is_not_found_and_no_error(workspace: Workspace, tmp_path: Path) -> None:
    assert find(workspace, "main", task="other") is None
    assert find(workspace, str(tmp_path / "none.json"), task="other") is None


def test_a_file_that_is_no_baseline_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no baseline"):
        read(tmp_path / "b.json")
    with pytest.raises(Invalid, match="cannot be read"):
        read(tmp_path)  # a folder
    (tmp_path / "b.json").write_text("[]")
    with pytest.raises(Invalid, match="is no baseline"):
        read(tmp_path / "b.json")
    (tmp_path / "b.json").write_text('{"format": "studiolo-baseline/9"}')
    with pytest.raises(Invalid, match="studiolo-baseline/9"):
        read(tmp_path / "b.json")

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from evals.compare import compare_all
from evals.gate import Decision, Gate, decide, read
from evals.samples import Sample
from workspace.documents import read_yaml
from workspace.errors import Invalid

Sampled = Callable[[str], tuple[Sample, ...]]


def decided(before: tuple[Sample, ...], after: tuple[Sample, ...], gate: Gate) -> Decision:
    return decide(compare_all(before, after, gate.terms), gate)


def test_what_regressed_does_not_pass(sampled: Sampled) -> None:
    decision = decided(sampled("+" * 40), sampled("-" * 10 + "+" * 30), Gate())
    assert not decision.passed
    assert decision.failures == ("exact: regressed, and more than the margin of 0.03 may be lost",)


def test_a_loss_that_is_sure_to_lie_within_the_margin_passes_and_is_said(sampled: Sampled) -> None:
    """Ten of 2,000 rows broke: that is certain, and less than anybody minds."""
    before, after = sampled("+" * 2_000), sampled("-" * 10 + "+" * 1_990)
    assert decided(before, after, Gate(margin=0.03)).passed
    assert "no more than the margin" in decided(before, after, Gate(margin=0.03)).warnings[0]
    assert not decided(before, after, Gate(margin=0.005)).passed


def test_a_small_suite_cannot_prove_itself_and_fails_only_where_power_is_required(sampled: Sampled) -> None:
    before, after = sampled("+" * 20), sampled("-" + "+" * 19)
    assert decided(before, after, Gate()).passed
    assert "underpowered" in decided(before, after, Gate()).warnings[0]
    assert not decided(before, after, Gate(require_power=True)).passed


@pytest.mark.parametrize("tagged", [{"severity": "critical"}, {"tags": ["a", "critical"]}, {"critical": True}])
def test_one_critical_row_that_broke_is_enough(sampled: Sampled, tagged: dict[str, object]) -> None:
    before = sampled("+" * 20)
    after = tuple(replace(s, metadata=tagged if s.number == 3 else {}) for s in sampled("+++-" + "+" * 16))
    decision = decided(before, after, Gate())
    assert decision.failures == ("critical rows broke: q03",)
    assert [pair.after.number for pair in decision.critical] == [3]
    assert decided(before, sampled("+++-" + "+" * 16), Gate()).passed


def test_no_more_rows_may_get_worse_than_was_said(sampled: Sampled) -> None:
    before, after = sampled("+" * 10 + "-" * 10), sampled("--" + "+" * 8 + "++" + "-" * 8)
    assert decided(before, after, Gate(max_regressions=2)).passed
    assert "2 rows got worse, at most 1" in decided(before, after, Gate(max_regressions=1)).failures[0]


def test_rows_that_came_or_went_and_rows_without_a_score_warn_and_do_not_fail(sampled: Sampled) -> None:
    decision = decided(sampled("++++++"), sampled("+e++++-")[1:], Gate(max_unscored=0.2))
    assert decision.passed
    assert any("1 rows have no score" in told for told in decision.warnings)
    assert any("1 rows are new, 1 are gone" in told for told in decision.warnings)


def test_a_run_that_says_nothing_of_many_rows_or_of_a_critical_one_does_not_pass(sampled: Sampled) -> None:
    many = decided(sampled("+" * 10), sampled("+" * 8 + "ee"), Gate())
    assert many.failures == ("exact: 2 of 10 rows have no score, at most 10 % may",)
    assert decided(sampled("+" * 10), sampled("+" * 9 + "e"), Gate()).passed
    silent = tuple(replace(sample, metadata={"critical": True}) for sample in sampled("+" * 9 + "e"))
    assert decided(sampled("+" * 10), silent, Gate()).failures == ("exact: critical rows without a score: row 10",)


def test_a_block_of_a_task_file_is_read_and_what_is_wrong_in_it_is_said_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "task.yaml"
    path.write_text("gate:\n  margin: 0.02\n  metrics: exact\n  max_regressions: 3\n")
    document = read_yaml(path)
    assert read(document.root["gate"], document=document) == Gate(margin=0.02, metrics=("exact",), max_regressions=3)
    path.write_text("gate:\n  margin: 0.02\n  max_regresions: 3\n")
    document = read_yaml(path)
    with pytest.raises(Invalid, match=r"task\.yaml:3") as caught:
        read(document.root["gate"], document=document)
    assert caught.value.hint == "did you mean 'max_regressions'?"
    with pytest.raises(Invalid, match="margin"):
        read({"margin": "much"})
    with pytest.raises(Invalid, match="margin"):
        read({"margin": 3})

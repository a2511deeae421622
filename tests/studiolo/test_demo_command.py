"""What `studiolo demo` says at its end; the demo itself is run by the tour."""

from __future__ import annotations

from pathlib import Path

import pytest

from studiolo.commands.demo import tell
from studiolo.demo import Finding, Finished
from workspace.errors import PartialFailure
from workspace.home import Workspace


def finished(workspace: Workspace, *, failed: int) -> Finished:
    report = workspace.assets.put("report", "demo", b"<html>")
    finding = Finding(metric="normalized", sentence="'normalized' rose.")
    files = (Path("reports/report.html"),)
    return Finished(findings=(finding,), report=report, files=files, lineage="report demo:1", failed=failed)


def test_findings_lineage_and_files_are_told(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    tell(finished(workspace, failed=0), 2.0)
    said = capsys.readouterr()
    assert said.out.splitlines() == ["normalized: 'normalized' rose.", "", "report demo:1", "", "reports/report.html"]
    assert "studiolo lineage report:demo" in said.err


def test_lines_without_an_answer_make_a_partial_failure_after_all_is_told(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(PartialFailure, match="4 of the lines got no answer"):
        tell(finished(workspace, failed=4), 2.0)
    assert "reports/report.html" in capsys.readouterr().out

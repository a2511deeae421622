"""The files of a run can be asked for by name, and no others."""

from __future__ import annotations

import pytest

import studiolo
from workspace import Workspace
from workspace.errors import StudioloError


@pytest.mark.parametrize("name", ["../../../token", "/etc/passwd", "..%2f..%2ftoken", "nothing.html", "", "a/../../x"])
def test_a_name_never_leads_out_of_the_run(workspace: Workspace, name: str) -> None:
    workspace.tokens.local()
    with workspace.run("eval", name="one") as run:
        run.log_artifact("report.html", "<p>")
    with pytest.raises(StudioloError):
        studiolo.artifact(workspace, "one", name)


def test_the_files_of_a_run_are_listed_and_found(workspace: Workspace) -> None:
    with workspace.run("eval", name="one") as run:
        run.log_artifact("report.html", "<p>")
    assert studiolo.artifacts(workspace, "one") == [studiolo.Artifact("report.html", 3)]
    assert studiolo.artifact(workspace, "one", "report.html").read_text() == "<p>"

"""Which flows a project has: those that people wrote, each once."""

from __future__ import annotations

from collections.abc import Callable

from studiolo.flow_shelf import flow_folders
from workspace.home import Workspace
from workspace.runs import RunRecord


def test_the_workspaces_own_copies_are_no_flows_of_the_project(
    workspace: Workspace, answered: Callable[..., RunRecord]
) -> None:
    answered("letters")
    kept = workspace.assets.path(workspace.assets.get("flow", "letters"))
    assert kept.is_relative_to(workspace.home)
    found = [(folder.ref, folder.origin) for folder in flow_folders(workspace)]
    assert found == [("letters", "project"), ("flow:letters:1", "asset"), ("demo", "demo")]

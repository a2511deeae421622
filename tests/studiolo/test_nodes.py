"""What people type for runs and assets."""

from __future__ import annotations

import pytest

from studiolo import nodes
from workspace.errors import NotFound
from workspace.home import Workspace


def test_a_run_is_found_by_name_by_id_and_by_its_first_letters(workspace: Workspace) -> None:
    with workspace.run("flow", name="mine") as run:
        pass
    texts = ("mine", run.run_id, f"run:{run.run_id}", run.run_id[:8])
    assert {nodes.find(workspace, text) for text in texts} == {f"run:{run.run_id}"}


def test_an_asset_is_found_by_kind_and_name_in_its_newest_version(workspace: Workspace) -> None:
    workspace.assets.put("report", "demo", b"one")
    workspace.assets.put("report", "demo", b"two")
    assert nodes.find(workspace, "report:demo") == "report:demo:2"
    assert nodes.find(workspace, "report:demo:1") == "report:demo:1"


def test_a_name_alone_is_enough_where_only_one_asset_has_it(workspace: Workspace) -> None:
    workspace.assets.put("data", "questions", b"{}")
    assert nodes.find(workspace, "questions") == "data:questions:1"


def test_a_name_of_two_kinds_is_asked_back(workspace: Workspace) -> None:
    workspace.assets.put("data", "demo", b"{}")
    workspace.assets.put("report", "demo", b"<html>")
    with pytest.raises(NotFound, match="data:demo:1 or report:demo:1"):
        nodes.find(workspace, "demo")


def test_an_unknown_name_is_not_found(workspace: Workspace) -> None:
    with pytest.raises(NotFound, match="no run and no asset 'nothing'"):
        nodes.find(workspace, "nothing")

"""What deployments collect, as data."""

from __future__ import annotations

import pytest

from jobs.data.collected import FOLDER, asset_of
from jobs.data.places import content
from workspace.errors import Invalid
from workspace.home import Workspace


def test_a_collection_is_data_by_name_and_one_that_would_lie_elsewhere_is_refused(workspace: Workspace) -> None:
    asset = asset_of(workspace, "credit", "blue", "model_inputs")
    assert asset.name == "credit-blue-model_inputs"
    assert content(workspace, asset) == workspace.home / FOLDER / "credit" / "blue" / "model_inputs"
    with pytest.raises(Invalid, match="not allowed"):
        asset_of(workspace, "../../out", "blue", "model_inputs")
    assert not (workspace.home.parent / "out").exists()

"""What tests of every package are given: a workspace of their own, untouched by the machine's variables."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from workspace.home import Workspace
from workspace.settings import Settings


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the machine's settings out of the environment; STUDIOLO_TEST_… are for the tests themselves."""
    for name in list(os.environ):
        if name == "MLFLOW_TRACKING_URI" or (name.startswith("STUDIOLO_") and not name.startswith("STUDIOLO_TEST_")):
            monkeypatch.delenv(name)


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    """A new workspace on SQLite."""
    with Workspace.open(settings=Settings(home=tmp_path / "home")) as opened:
        yield opened

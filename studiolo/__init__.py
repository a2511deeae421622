"""Studiolo: a whole GenAI and ML studio in one room. Users import only this package."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from workspace.assets import Asset as Asset
    from workspace.errors import Conflict as Conflict
    from workspace.errors import Denied as Denied
    from workspace.errors import Invalid as Invalid
    from workspace.errors import MissingExtra as MissingExtra
    from workspace.errors import NotFound as NotFound
    from workspace.errors import PartialFailure as PartialFailure
    from workspace.errors import StudioloError as StudioloError
    from workspace.errors import Unavailable as Unavailable
    from workspace.home import Workspace as Workspace
    from workspace.runs import Run as Run
    from workspace.runs import RunRecord as RunRecord
    from workspace.settings import Settings as Settings

# Where each public name lives; it is imported when it is first used.
_HOMES = {
    "Asset": "workspace.assets",
    "Conflict": "workspace.errors",
    "Denied": "workspace.errors",
    "Invalid": "workspace.errors",
    "MissingExtra": "workspace.errors",
    "NotFound": "workspace.errors",
    "PartialFailure": "workspace.errors",
    "Run": "workspace.runs",
    "RunRecord": "workspace.runs",
    "Settings": "workspace.settings",
    "StudioloError": "workspace.errors",
    "Unavailable": "workspace.errors",
    "Workspace": "workspace.home",
}


def open_workspace(where: Path | str | None = None) -> Workspace:
    """Open the workspace in a folder (or at a PostgreSQL URL); without one, the workspace of the settings."""
    from workspace.home import Workspace

    return Workspace.open(where)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'studiolo' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*_HOMES, "open_workspace"]

"""What is kept on disk, and the words everyone shares; imports none of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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

_HOMES = {
    "Conflict": "workspace.errors",
    "Denied": "workspace.errors",
    "Invalid": "workspace.errors",
    "MissingExtra": "workspace.errors",
    "NotFound": "workspace.errors",
    "PartialFailure": "workspace.errors",
    "StudioloError": "workspace.errors",
    "Unavailable": "workspace.errors",
    "Asset": "workspace.assets",
    "Run": "workspace.runs",
    "RunRecord": "workspace.runs",
    "Settings": "workspace.settings",
    "Workspace": "workspace.home",
}


def __getattr__(name: str) -> Any:
    # SQLAlchemy takes half a second to import: `import workspace` does not pay for what it does not use.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})

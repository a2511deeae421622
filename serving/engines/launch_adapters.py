"""The property `adapters` of a deployment: LoRA adapters by the name that requests call them by, for any engine."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from serving.endpoints import Deployment
from workspace.errors import Invalid
from workspace.home import Workspace

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_HINT = "adapters: {polite: model:polite-lora:2}"


def adapters(workspace: Workspace, deployment: Deployment) -> dict[str, Path]:
    """Return the folder of each adapter: that of a model of the workspace, or one given by its absolute path."""
    given = deployment.properties.get("adapters") or {}
    if not isinstance(given, Mapping):
        raise Invalid("adapters is a mapping from a name to a model", hint=_HINT)
    return {str(name): _folder(workspace, str(name), str(reference)) for name, reference in given.items()}


def _folder(workspace: Workspace, name: str, reference: str) -> Path:
    if not _NAME.fullmatch(name):
        raise Invalid(f"{name!r} cannot be the name of an adapter", hint="letters, digits, dots, hyphens, underscores")
    path = Path(reference)
    if not path.is_absolute():
        return workspace.assets.path(workspace.assets.get("model", reference))
    if not path.is_dir():
        raise Invalid(f"the adapter {name!r} is no folder: {reference!r}", hint=_HINT)
    return path

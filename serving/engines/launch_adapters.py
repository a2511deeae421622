"""The property `adapters` of a deployment: LoRA adapters by the name that requests call them by, for any engine."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from serving.endpoints import Deployment
from workspace.assets import Asset
from workspace.errors import Invalid
from workspace.home import Workspace

CONFIG = "adapter_config.json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_HINT = "adapters: {polite: model:polite-lora:2}"


def adapters(workspace: Workspace, deployment: Deployment) -> dict[str, Path]:
    """Return the folder of each adapter: that of a model of the workspace, or one given by its absolute path."""
    given = deployment.properties.get("adapters") or {}
    if not isinstance(given, Mapping):
        raise Invalid("adapters is a mapping from a name to a model", hint=_HINT)
    return {str(name): _folder(workspace, str(name), str(reference)) for name, reference in given.items()}


def weights_of(workspace: Workspace, model: Asset) -> tuple[Path, dict[str, Path]]:
    """Return the folder that is loaded for a model, and the adapter that answers for it: an adapter needs its base."""
    content = workspace.assets.path(model)
    if not (content / CONFIG).is_file():
        return content, {}
    base = model.properties.get("base")
    if base is None:
        hint = f"register it with the property `base`, or deploy its base with adapters: {{NAME: {model.ref}}}"
        raise Invalid(f"{model.ref} is an adapter and does not say of which model", hint=hint)
    return workspace.assets.path(workspace.assets.get("model", str(base))), {model.name: content}


def named(deployment: Deployment) -> dict[str, str]:
    """Return what the deployment says of its adapters: the reference of each by its name."""
    given = deployment.properties.get("adapters") or {}
    return {str(name): str(reference) for name, reference in given.items()} if isinstance(given, Mapping) else {}


def owned(deployment: Deployment) -> dict[str, str]:
    """Return the option that gives a deployment with adapters an engine of its own, whichever they are now.

    Two deployments may call different adapters by the same name; and those of one change while its engine runs.
    """
    return {"adapters_of": deployment.path} if deployment.properties.get("adapters") else {}


def _folder(workspace: Workspace, name: str, reference: str) -> Path:
    if not _NAME.fullmatch(name):
        raise Invalid(f"{name!r} cannot be the name of an adapter", hint="letters, digits, dots, hyphens, underscores")
    path = Path(reference)
    if not path.is_absolute():
        return workspace.assets.path(workspace.assets.get("model", reference))
    if not path.is_dir():
        raise Invalid(f"the adapter {name!r} is no folder: {reference!r}", hint=_HINT)
    return path

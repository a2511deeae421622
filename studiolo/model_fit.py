"""What a model needs, whatever it is called: a model of this workspace, a folder, a GGUF file or one at the Hub."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from catalog.fit import devices, fitting
from catalog.fit.config import shape
from catalog.fit.devices import Device
from catalog.fit.fitting import Known
from catalog.fit.remote import look
from catalog.hub import Hub
from workspace.errors import NotFound
from workspace.home import Workspace

HUB = "hf:"


def known(workspace: Workspace, name: str, *, file: str = "", revision: str = "main") -> Known:
    """Return what a name stands for: `hf:AUTHOR/NAME` is asked of the Hub, from a few kilobytes."""
    path = Path(name).expanduser()
    if not name.startswith(HUB) and path.exists():
        return fitting.of_folder(path.resolve(), name)
    if not name.startswith(HUB):
        try:
            asset = workspace.assets.get("model", name)
        except NotFound:
            if "/" not in name:
                raise
        else:
            return fitting.of_folder(workspace.assets.path(asset), f"{asset.name}:{asset.version}")
    repo = name.removeprefix(HUB)
    found = look(Hub.of_person(), repo, revision=revision, file=file)
    return Known(
        name=repo, where=f"{HUB}{repo}", shape=shape(found.config), weights=found.weights, file=found.file
    )  # fmt: skip


def asked_for(name: str | None) -> Sequence[Device]:
    """Return the device of that name, or what this machine has."""
    return [devices.named(name)] if name else devices.here()

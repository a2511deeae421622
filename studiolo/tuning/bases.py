"""The model that a training begins with, as an asset: whatever it was called, its version is known from here on."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from workspace.errors import Invalid, NotFound

if TYPE_CHECKING:
    from workspace.assets import Asset
    from workspace.home import Workspace

HUB = "hf:"
_NO_NAME = re.compile(r"[^A-Za-z0-9._-]+")


def base_of(workspace: Workspace, written: str, folder: Path) -> Asset:
    """Return the asset that `smollm2-135m-instruct`, `azureml:NAME:2`, `hf:OWNER/NAME@REVISION` or a folder means."""
    if written.startswith(HUB):
        return _cached(workspace, written.removeprefix(HUB))
    place = (folder / written).expanduser()
    if written.startswith((".", "~")) or "/" in written:
        if not (place / "config.json").is_file():
            raise NotFound(f"no model in {str(place)!r}", hint="a model's folder has a config.json and safetensors")
        return _kept(workspace, place.resolve(), place.resolve().name, {"base_model": place.resolve().name})
    return workspace.assets.get("model", written)


def _cached(workspace: Workspace, written: str) -> Asset:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    name, _, revision = written.partition("@")
    try:
        found = Path(snapshot_download(name, revision=revision or None, local_files_only=True))
    except LocalEntryNotFoundError:
        hint = f"hf download {name}{f' --revision {revision}' if revision else ''}"
        raise NotFound(f"{name!r} is not in the cache of the Hub's client", hint=hint) from None
    except HFValidationError as error:
        raise Invalid(f"{name!r} is no name on the Hub: {error}") from None
    told = {"base_model": name, "revision": found.name, "source": f"{HUB}{name}@{found.name}"}
    return _kept(workspace, found, name.replace("/", "--"), told)


def _kept(workspace: Workspace, folder: Path, name: str, told: dict[str, str]) -> Asset:
    properties = {"type": "custom_model", **told}
    return workspace.assets.put("model", _NO_NAME.sub("-", name).strip(".-") or "base", folder, properties=properties)

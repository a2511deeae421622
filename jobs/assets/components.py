"""Components that are kept under a name: what their file says, with the code and the files that it names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from jobs.assets import versions
from jobs.assets.packing import pack, placed, unpack
from jobs.files import component_of
from jobs.files.component import Component
from jobs.files.plain import plain
from jobs.files.references import Reference, reference
from jobs.includes import merged
from workspace.errors import Invalid, NotFound

if TYPE_CHECKING:
    from workspace.assets import Asset
    from workspace.home import Workspace

_NAME = "component"
_NOTES = ("description", "tags", "display_name")
_KEPT_APART = (*_NOTES, "name", "version")


def register(workspace: Workspace, component: Component) -> Asset:
    """Keep a component with its code; the components that its steps name are settled by their versions."""
    if component.name is None:
        raise Invalid("a component needs a name", hint="name: my_component")
    said = plain(merged(workspace, component))
    content = _settled(workspace, {key: each for key, each in said.items() if key not in _KEPT_APART})
    blob = pack(workspace, _NAME, content, component.origin)
    asset = workspace.assets.put(
        "component", component.name, blob, version=component.version, properties={"type": said["type"]}
    )
    return versions.noted(workspace, asset, {key: said[key] for key in _NOTES if key in said})


def get(workspace: Workspace, ref: str | Reference) -> Component:
    """Return a component by its name, ready to be run: `get(workspace, "azureml:train@latest")`.

    What belongs to it, its code first, lies in a folder that is only for reading.
    """
    return read(workspace, find(workspace, ref))


def find(workspace: Workspace, ref: str | Reference) -> Asset:
    """Return the asset that a reference means."""
    named = ref if isinstance(ref, Reference) else reference(ref) or reference(f"azureml:{ref}")
    if named is None:
        raise Invalid(f"{ref!r} names no component", hint="azureml:name:1 or azureml:name@latest")
    return versions.find(workspace, _NAME, named.name, version=named.version, label=named.label)


def read(workspace: Workspace, asset: Asset) -> Component:
    """Return the component that an asset is."""
    folder = workspace.assets.path(asset)
    said = unpack(folder, _NAME)
    notes = {key: each for key, each in versions.said(asset).items() if key in _NOTES and each}
    return component_of({**said, **notes, "name": asset.name, "version": asset.version}, folder)


def shape(workspace: Workspace, asset: Asset) -> dict[str, Any]:
    """Return the JSON of a component."""
    folder = workspace.assets.path(asset)
    try:
        own = placed(unpack(folder, _NAME), folder)
    except NotFound:  # the code of a deployment is kept among the components as well
        own = {}
    return versions.shape(workspace, asset, {"is_deterministic": True, **own})


def _settled(workspace: Workspace, value: Any, key: str = "") -> Any:
    """Return plain values in which a component that is named has its version."""
    if isinstance(value, Mapping):
        return {name: _settled(workspace, each, str(name)) for name, each in value.items()}
    if key not in ("component", "trial") or not isinstance(value, str):
        return value
    named = reference(value)
    if named is None:
        return value
    asset = find(workspace, named)
    return f"azureml:{asset.name}:{asset.version}"

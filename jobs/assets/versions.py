"""Versions of assets: found by version or label, listed, noted on, archived; and what their JSON has in common."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.files.overrides import Override, apply
from workspace.documents import Document
from workspace.errors import Invalid, NotFound

if TYPE_CHECKING:
    from workspace.assets import Asset
    from workspace.home import Workspace

_CHANGING = {  # what people say of a version
    "data": ("description", "tags", "properties"),
    "environment": ("description", "tags"),
    "component": ("description", "tags", "display_name"),
    "model": ("description", "tags", "properties", "stage"),
}
_PLURALS = {"data": "data", "model": "models", "environment": "environments", "component": "components"}


def reference(name: str, version: str | None = None, label: str | None = None) -> str:
    """Return the words by which a workspace finds an asset: "rows:3", "rows@champion", "rows"."""
    if version is not None and label is not None:
        raise Invalid("a version and a label are given", hint="give one of them")
    return f"{name}:{version}" if version is not None else f"{name}@{label}" if label is not None else name


def find(workspace: Workspace, kind: str, name: str, *, version: str | None = None, label: str | None = None) -> Asset:
    """Return the version that is meant; the latest is the one that was made last."""
    return workspace.assets.get(kind, reference(name, version, label))


def listed(workspace: Workspace, kind: str, name: str | None, *, archived: str) -> list[Asset]:
    """Return the latest version of each asset, or every version of one, the newest first."""
    found = workspace.assets.list(kind, archived=archived != "without", every_version=True)
    if name is not None:
        versions = [each for each in found if each.name == name]
        if not versions:
            workspace.assets.get(kind, name)  # says what is there instead, or that all of it is archived
        return [each for each in versions if each.archived or archived != "only"]
    latest: dict[str, Asset] = {}
    for each in found:
        kept = latest.setdefault(each.name, each)
        if kept.archived and not each.archived:
            latest[each.name] = each
    return [each for each in latest.values() if each.archived or archived != "only"]


def update(workspace: Workspace, asset: Asset, changes: tuple[Override, ...], removed: tuple[str, ...]) -> Asset:
    """Change what people say of a version."""
    for way in (*(way for way, _ in changes), *removed):
        key = way.partition(".")[0].partition("[")[0]
        if key not in _CHANGING[asset.kind]:
            hint = f"{', '.join(_CHANGING[asset.kind])} do; for the rest, create another version"
            raise Invalid(f"{key!r} of a version does not change", hint=hint)
    notes = changed(said(asset), changes, removed)
    tags = notes.get("tags", {})
    if not isinstance(tags, Mapping):
        raise Invalid("tags are a mapping", hint="--set tags.NAME=VALUE")
    return workspace.assets.note(asset, notes)


def changed(values: Mapping[str, Any], changes: tuple[Override, ...], removed: tuple[str, ...]) -> dict[str, Any]:
    """Return plain values with some set and some taken out."""
    root: dict[str, Any] = apply(Document(Path("<set>"), copy.deepcopy(dict(values))), changes).root
    for way in removed:
        *steps, last = way.split(".")
        place: Any = root
        for step in steps:
            place = place.get(step) if isinstance(place, Mapping) else None
        if not isinstance(place, dict) or last not in place:
            raise NotFound(f"there is no {way!r} to remove", hint="see it with `show`")
        del place[last]
    return root


def noted(workspace: Workspace, asset: Asset, notes: Mapping[str, Any]) -> Asset:
    """Keep what a file says of a version; what it leaves out stays as it was."""
    given = {key: value for key, value in notes.items() if value}
    return workspace.assets.note(asset, dict(asset.notes) | given) if given else asset


def set_archived(
    workspace: Workspace, kind: str, name: str, *, version: str | None, label: str | None, archived: bool
) -> None:
    """Archive or take back one version, or all of them."""
    act = workspace.assets.archive if archived else workspace.assets.restore
    if version is not None or label is not None:
        act(find(workspace, kind, name, version=version, label=label))
        return
    every = [each for each in workspace.assets.list(kind, archived=True, every_version=True) if each.name == name]
    if not every:
        workspace.assets.get(kind, name)
    for each in every:
        act(each)


def said(asset: Asset) -> dict[str, Any]:
    """Return what people say of a version: its notes, or what older records keep among the properties."""
    known = {key: asset.properties[key] for key in ("description", "tags") if key in asset.properties}
    return {"description": "", "tags": {}} | known | dict(asset.notes)


def shape(workspace: Workspace, asset: Asset, own: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON of a version: what all have, and what its kind adds."""
    base = f"{workspace_id(workspace)}/{_PLURALS[asset.kind]}/{asset.name}"
    notes = said(asset)
    notes["tags"] = {str(key): value for key, value in notes["tags"].items()}
    return {
        "name": asset.name,
        "version": asset.version,
        "id": f"azureml:{base}/versions/{asset.version}",
        **notes,
        **own,
        "labels": list(asset.labels),
        "archived": asset.archived,
        "creation_context": context(asset.created_at),
    }


def workspace_id(workspace: Workspace) -> str:
    """Return what Azure's id of this workspace would be; our readers take names out of such ids."""
    called = workspace.home.parent.name or "studiolo"
    return (
        "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/studiolo"
        f"/providers/Microsoft.MachineLearningServices/workspaces/{called}"
    )


def context(created_at: float, updated_at: float | None = None) -> dict[str, str]:
    """Return when something was made and changed."""
    found = {"created_at": moment(created_at)}
    return found if updated_at is None else found | {"last_modified_at": moment(updated_at)}


def moment(timestamp: float) -> str:
    """Return a time as Azure ML writes it."""
    return datetime.fromtimestamp(timestamp, UTC).isoformat(timespec="microseconds")

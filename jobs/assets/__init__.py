"""What files name, by the verbs of Azure ML's command line: `create(workspace, "data", Path("data.yml"))`.

Each verb returns what `az ml KIND VERB -o json` would print. `KINDS` have versions, a `RESOURCE` has a name alone.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from jobs.files import made, read
from jobs.files.overrides import Override
from workspace.errors import Invalid, did_you_mean
from workspace.home import Workspace

KINDS = ("data", "model", "environment", "component")
RESOURCES = ("datastore", "connection", "compute", "registry")
Archived = Literal["without", "with", "only"]
Shown = dict[str, Any]

_HOMES = {
    "data": "data", "model": "models", "environment": "environments", "component": "components",
    "datastore": "datastores", "connection": "connections", "compute": "computes", "registry": "registries",
}  # fmt: skip


def create(
    workspace: Workspace,
    kind: str,
    source: Path | Mapping[str, Any],
    overrides: tuple[Override, ...] = (),
    *,
    folder: Path | None = None,
) -> Shown:
    """Register what a file says, or plain values whose relative paths start in `folder`.

    The same content again is the same version; other content under a version that is taken is a Conflict.
    """
    home = _home(kind)
    if isinstance(source, Path):
        found = read(kind, source, overrides)
    else:
        found = made(kind, source, folder or Path.cwd(), overrides)
    shown: Shown = home.shape(workspace, home.register(workspace, found))
    return shown


def show(workspace: Workspace, kind: str, name: str, *, version: str | None = None, label: str | None = None) -> Shown:
    """Return one: by its version, by a label, or the latest."""
    from jobs.assets import versions

    home = _home(kind)
    if kind in RESOURCES:
        found = home.get(workspace, name)
    else:
        found = versions.find(workspace, kind, name, version=version, label=label)
    shown: Shown = home.shape(workspace, found)
    return shown


def list_all(
    workspace: Workspace, kind: str, name: str | None = None, *, archived: Archived = "without"
) -> list[Shown]:
    """Return the latest version of each, or every version of one, the newest first; resources by name."""
    home = _home(kind)
    if kind in RESOURCES:
        return [home.shape(workspace, each) for each in home.listed(workspace)]
    from jobs.assets import versions

    return [home.shape(workspace, each) for each in versions.listed(workspace, kind, name, archived=archived)]


def update(
    workspace: Workspace,
    kind: str,
    name: str,
    changes: tuple[Override, ...],
    *,
    removed: tuple[str, ...] = (),
    version: str | None = None,
    label: str | None = None,
) -> Shown:
    """Set what may change: description and tags of a version, all but the name of a resource.

    `update(workspace, "data", "rows", (("tags.checked", "yes"),), removed=("tags.draft",))`
    """
    home = _home(kind)
    if kind in RESOURCES:
        return create(workspace, kind, home.updated(workspace, name, changes, removed))
    from jobs.assets import versions

    asset = versions.find(workspace, kind, name, version=version, label=label)
    shown: Shown = home.shape(workspace, versions.update(workspace, asset, changes, removed))
    return shown


def archive(
    workspace: Workspace, kind: str, name: str, *, version: str | None = None, label: str | None = None
) -> None:
    """Hide a version from lists and from `@latest`; without one, every version there is."""
    from jobs.assets import versions

    versions.set_archived(workspace, _versioned(kind), name, version=version, label=label, archived=True)


def restore(
    workspace: Workspace, kind: str, name: str, *, version: str | None = None, label: str | None = None
) -> None:
    """Take back what was archived."""
    from jobs.assets import versions

    versions.set_archived(workspace, _versioned(kind), name, version=version, label=label, archived=False)


def share(
    workspace: Workspace, kind: str, asset: tuple[str, str | None], registry: str, *, name: str = "", version: str = ""
) -> Shown:
    """Put a version into a registry: `share(workspace, "model", ("mine", "1"), "shelf", name="bot")`."""
    from jobs.assets import registries, versions

    found = versions.find(workspace, _versioned(kind), asset[0], version=asset[1])
    shown: Shown = _home(kind).shape(
        workspace, registries.share(workspace, found, registry, name=name, version=version)
    )
    return shown


def delete(workspace: Workspace, kind: str, name: str) -> None:
    """Forget a resource. Assets are archived instead: what was made from them still names them."""
    home = _home(kind)
    if kind not in RESOURCES:
        raise Invalid(f"a {kind} cannot be deleted: lineage names it", hint=f"studiolo {kind} archive --name {name}")
    home.delete(workspace, name)


def _home(kind: str) -> Any:
    if kind not in _HOMES:
        raise Invalid(f"no kind {kind!r}", hint=did_you_mean(kind, _HOMES))
    return importlib.import_module(f"jobs.assets.{_HOMES[kind]}")


def _versioned(kind: str) -> str:
    if kind not in KINDS:
        raise Invalid(f"a {kind} has no versions", hint=f"delete it: studiolo {kind} delete")
    return kind
